//! How long a queue stays that nobody uses: the argument `x-expires`.
//!
//! A queue is used while it has consumers, and by `basic.get` and another declare. Its time begins anew with a restart, as
//! RabbitMQ's does: its consumers must be able to come back.

use super::{Inner, Queue};
use crate::time::{self, Millis};

impl Queue {
    /// Somebody uses the queue, or its last consumer went: its time begins anew.
    pub(super) fn renew_lease(&self, inner: &mut Inner) {
        let expires_ms = inner.settings.expires_ms.filter(|_| inner.state.consumer_count() == 0);
        inner.lease_until = expires_ms.map(|ms| Millis(time::unix_ms().0.saturating_add(ms)));
    }

    /// A declare that found the queue there.
    pub fn touch(&self) {
        let mut inner = self.inner.lock();
        if inner.settings.expires_ms.is_some() && !inner.is_deleted {
            self.renew_lease(&mut inner);
            self.mind_deadline(&mut inner);
        }
    }
}
