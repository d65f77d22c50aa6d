//! What keeps rosters over a panic.
//!
//! A panic ends the whole WebAssembly instance: all its memory is gone, and with it the roster of every object that
//! lives in the same isolate, up to the ten seconds that are not in storage yet. The runtime then makes a new instance
//! and constructs the objects again. While the old one dies its memory is still sound, so the panic hook writes every
//! roster that is not just being changed to the JavaScript side of the isolate, where the new instance finds it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use worker::js_sys::{Object, Reflect, global};
use worker::wasm_bindgen::JsValue;

use crate::community::Core;

/// The property of the isolate's global object that holds the snapshots, one for each object's identifier.
const PROPERTY: &str = "rendezvousRescued";

thread_local! {
    static CORES: RefCell<Vec<Weak<Core>>> = const { RefCell::new(Vec::new()) };
}

/// Counts this object among those to save.
pub(crate) fn register(core: &Rc<Core>) {
    CORES.with_borrow_mut(|cores| {
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Rc::downgrade(core));
    });
}

/// Saves every roster that has changes which are not in storage. Called by the panic hook: nothing here may panic, and
/// what fails here has no other remedy.
pub(crate) fn after_panic() {
    let rescued = Object::new();
    CORES.with(|cores| {
        let Ok(cores) = cores.try_borrow() else { return };
        for core in cores.iter().filter_map(Weak::upgrade) {
            if let Some(snapshot) = core.unwritten_snapshot() {
                let _ = Reflect::set(&rescued, &core.identifier().into(), &snapshot.into());
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
