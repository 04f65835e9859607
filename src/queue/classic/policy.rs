//! Policies that come and go while the queue is there.

use super::Queue;
use crate::broker::policy::Applied;
use crate::definition::Role;
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
        {
            let mut inner = self.inner.lock();
            if inner.is_deleted || inner.policy == *policy {
                return false;
            }
            inner.policy = policy.clone();
        }
        self.refresh_settings(wakes);
        true
    }

    /// Works out again what holds for the queue: the policies that apply, or the node's defaults, are others.
    pub fn refresh_settings(&self, wakes: &mut Wakes) {
        let settings = {
            let mut inner = self.inner.lock();
            let (kind, timeout_ms) = (inner.settings.kind, self.services.consumer_timeout_ms());
            let effective = inner.policy.effective();
            let mut settings = Settings::of(kind, &self.definition.arguments, &effective, timeout_ms);
            settings.rules.has_dead_letters |= matches!(self.definition.role, Role::DelayOf(_));
            if inner.is_deleted || settings == inner.settings {
                return;
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
                return;
            }
        }
    }
}
