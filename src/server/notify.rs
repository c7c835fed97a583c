//! Keyspace notifications: what happened to keys, as messages on channels.

use super::Server;
use super::config::KeyspaceEvents;
use super::pubsub::{Kind, PubSub};
use crate::store::Keyspace;
use crate::store::event::Event;

/// Has the keyspace collect the events that the configuration asks for.
pub fn listen(events: KeyspaceEvents, keys: &mut Keyspace) {
    keys.events.wanted = events.wanted_classes();
}

/// Publishes the events that were collected.
#[cold]
pub fn publish(server: &mut Server, keys: &mut Keyspace) {
    let wanted = server.config.notify_keyspace_events;
    if [Kind::Channel, Kind::Pattern].iter().all(|&kind| server.pubsub.len(kind) == 0) {
        keys.events.list.clear();
        return;
    }
    for event in keys.events.list.drain(..) {
        publish_one(&mut server.pubsub, wanted, &event);
    }
}

fn publish_one(pubsub: &mut PubSub, wanted: KeyspaceEvents, event: &Event) {
    let Event { db, name, key } = event;
    if wanted.contains(KeyspaceEvents::KEYSPACE) {
        let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
        pubsub.publish(Kind::Channel, &channel, name.as_bytes());
    }
    if wanted.contains(KeyspaceEvents::KEYEVENT) {
        let channel = format!("__keyevent@{db}__:{name}");
        pubsub.publish(Kind::Channel, channel.as_bytes(), key);
    }
}
