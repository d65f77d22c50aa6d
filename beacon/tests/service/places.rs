//! The object that gives mailboxes their places, for the doors of other systems' clients: made anew for every call, as after a
//! crash.

use std::collections::BTreeMap;

use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;
use rendezvous_service::answer::Answer;
use rendezvous_service::config::Config;
use rendezvous_service::mailbox::{Object, ObjectCall};

use crate::mailbox::Disk;

pub(crate) const SECRET: Secret = Secret::from_bytes([3; 16]);

/// What is stored of places, and how many there are.
pub(crate) struct Places {
    config: Config,
    disk: Disk,
}

impl Places {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, disk: Disk::default() }
    }

    pub(crate) fn ask(&mut self, now: UnixMillis, call: ObjectCall) -> Answer {
        let found = Object::restore(now, &self.config, Some(call.object()), self.disk.found(), SECRET);
        let (mut openings, _) = found.unwrap().unwrap();
        let (answer, effects) = openings.handle(now, call);
        self.disk.carry_out(&effects);
        answer.answer
    }

    pub(crate) const fn rows(&self) -> &BTreeMap<String, String> {
        &self.disk.rows
    }
}
