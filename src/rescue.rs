//! What keeps rosters over a panic.
//!
//! A panic ends the whole WebAssembly instance: all its memory is gone, and with it the roster of every object that
//! lives in the same isolate, up to the ten seconds that are not in storage yet. The runtime then makes a new instance
//! and constructs the objects again. While the old one dies its memory is still sound, so the panic hook writes every
//! roster that is not just being changed to the JavaScript side of the isolate, where the new instance finds it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use rendezvous_service::community::CommunityObject;
use worker::js_sys::{Object, Reflect, global};
use worker::wasm_bindgen::JsValue;

use crate::environment::clock;

/// The property of the isolate's global object that holds the snapshots, one for each object's identifier.
const PROPERTY: &str = "rendezvousRescued";

type Registered = (String, Weak<RefCell<CommunityObject>>);

thread_local! {
    static OBJECTS: RefCell<Vec<Registered>> = const { RefCell::new(Vec::new()) };
}

/// Counts the object with this identifier among those to save.
pub(crate) fn register(identifier: String, object: &Rc<RefCell<CommunityObject>>) {
    OBJECTS.with_borrow_mut(|objects| {
        objects.retain(|(_, object)| object.strong_count() > 0);
        objects.push((identifier, Rc::downgrade(object)));
    });
}

/// Saves every roster that has changes which are not in storage. Called by the panic hook: nothing here may panic, and
/// what fails here has no other remedy.
pub(crate) fn after_panic() {
    let rescued = Object::new();
    OBJECTS.with(|objects| {
        let Ok(objects) = objects.try_borrow() else { return };
        for (identifier, object) in objects.iter() {
            let Some(object) = object.upgrade() else { continue };
            let Ok(object) = object.try_borrow() else { continue };
            if let Some(snapshot) = object.unwritten(clock()) {
                let _ = Reflect::set(&rescued, &identifier.into(), &snapshot.into());
            }
        }
    });
    let _ = Reflect::set(&global(), &PROPERTY.into(), &rescued);
}

/// Takes the snapshot that was saved for this object, if there is one.
pub(crate) fn take(identifier: &str) -> Option<String> {
    let rescued = Reflect::get(&global(), &PROPERTY.into()).ok().filter(JsValue::is_object)?;
    let snapshot = Reflect::get(&rescued, &identifier.into()).ok()?.as_string()?;
    Reflect::delete_property(&rescued.into(), &identifier.into()).ok()?;
    Some(snapshot)
}
