"""Commands that `tests/suites/run` runs to their end, and what makes sure that none of them outlives it."""
import os
import shutil
import signal
import subprocess

RUNNING = set()  # every process started here or for a broker, each the leader of its group
FOLDERS = set()  # the temporary folders of running brokers


class Failed(Exception):
    """A suite ran into something other than a test that failed."""


def call(argv, seconds, log, cwd=None, env=None):
    """Run a command with its output in a log, and end its whole group when it takes too long."""
    with open(log, "ab") as out:
        out.write(f"$ {' '.join(map(str, argv))}\n".encode())
        out.flush()
        process = subprocess.Popen(
            [str(a) for a in argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )
    RUNNING.add(process)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        RUNNING.discard(process)


def interrupted(number, _frame):
    """Leave no process or folder behind when the run itself is ended."""
    for process in list(RUNNING):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for folder in list(FOLDERS):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(128 + number)


def must(argv, seconds, log, **more):
    """Like `call`, for a command that has to succeed."""
    code = call(argv, seconds, log, **more)
    if code != 0:
        end = "took too long" if code is None else f"ended with {code}"
        raise Failed(f"{' '.join(map(str, argv[:4]))} … {end}; see {log}")
