// What the program needs besides its checks: named checks with a time limit, unique names, an inbox to await
// deliveries in, and the broker's kill and restart.
'use strict';

const crypto = require('node:crypto');

const CHECK_SECONDS = 60;
const control = process.env.CONTROL_URL;
const prefix = `interop.amqplib.${crypto.randomBytes(4).toString('hex')}`;

/** Thrown by a check that cannot run here. */
class Skip extends Error {}

const unique = (name) => `${prefix}.${name}`;

/** Skips the check when the broker cannot be restarted; called first, so that nothing is left in the broker. */
function needRestart() {
  if (!control) throw new Skip('this broker was not started by the harness and cannot be restarted');
}

/** Has the harness kill the broker with SIGKILL and start it again; resolves when it answers. */
async function restartBroker() {
  const response = await fetch(`${control}/restart`, { method: 'POST' });
  if (!response.ok) throw new Error(`restart: ${await response.text()}`);
}

/** Collects what is pushed into it and lets a check wait for the next one. */
class Inbox {
  constructor() {
    this.waiting = [];
    this.items = [];
  }

  push(item) {
    const resolve = this.waiting.shift();
    if (resolve) resolve(item);
    else this.items.push(item);
  }

  next() {
    if (this.items.length > 0) return Promise.resolve(this.items.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async take(count) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }
}

function limited(promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${CHECK_SECONDS} s`)), CHECK_SECONDS * 1000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Runs the checks in order, prints a result line for each and exits, with 1 when any failed. */
async function runChecks(checks) {
  let failed = false;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await limited(check());
      console.log(`ok ${name}`);
    } catch (error) {
      if (error instanceof Skip) {
        console.log(`skip ${name}: ${error.message}`);
        continue;
      }
      failed = true;
      console.error(error);
      console.log(`FAIL ${name}: ${String(error.message).replace(/\s+/g, ' ')}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

module.exports = { Inbox, needRestart, restartBroker, runChecks, unique };
