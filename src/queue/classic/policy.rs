//! Policies that come and go while the queue is there.

use super::Queue;
use crate::broker::policy::Applied;
use crate::outbox::Wakes;
use crate::queue::settings::Settings;
use crate::queue::state::Command;
use std::sync::atomic::Ordering::Relaxed;

impl Queue {
    /// The policies in force.
    pub fn policy(&self) -> Applied {
        self.inner.lock().policy.clone()
    }

    /// What applies from now on; its messages leave in slices where there are too many. Returns whether that is other than
    /// before.
    pub fn set_policy(&self, policy: &Applied, wakes: &mut Wakes) -> bool {
        let settings = {
            let mut inner = self.inner.lock();
            if inner.is_deleted || inner.policy == *policy {
                return false;
            }
            inner.policy = policy.clone();
            let settings = Settings::of(inner.settings.kind, &self.definition.arguments, &policy.effective());
            if settings == inner.settings {
                return true;
            }
            inner.state.set_rules(settings.rules);
            inner.is_choosy = settings.is_choosy();
            inner.settings = settings.clone();
            self.renew_lease(&mut inner);
            // What waited for a limit that is gone, or failed more often than a new one allows.
            self.run(&mut inner, Command::Expire, wakes);
            settings
        };
        let durability = settings.durability.unwrap_or(self.services.durability);
        self.durability.store(durability.number(), Relaxed);
        loop {
            let mut inner = self.inner.lock();
            let before = inner.state.ready_count();
            self.run(&mut inner, Command::Trim, wakes);
            if inner.state.ready_count() == before {
                return true;
            }
        }
    }
}
