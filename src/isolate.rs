//! What one isolate keeps from one request to the next: its edge.

use std::cell::RefCell;

use rendezvous_service::edge::{Edge, Step};
use rendezvous_service::platform::Platform;
use worker::Env;

use crate::environment::{Failure, config, goop2_door, random, random_secret, retalk_door};
use crate::journal;

thread_local! {
    static EDGE: RefCell<Option<Edge>> = const { RefCell::new(None) };
}

/// Asks the edge for a step, and makes the edge first where there is none.
pub(crate) fn with_edge(env: &Env, work: impl FnOnce(&mut Edge) -> Step) -> Result<Step, Failure> {
    EDGE.with_borrow_mut(|edge| {
        let edge = match edge {
            Some(edge) => edge,
            None => edge.insert(new_edge(env)?),
        };
        let step = work(edge);
        journal::write(edge.take_notes());
        Ok(step)
    })
}

/// Does something with the edge where there is one, as there is once a request has been taken.
pub(crate) fn with_known_edge(work: impl FnOnce(&mut Edge)) {
    EDGE.with_borrow_mut(|edge| edge.as_mut().map(work));
}

fn new_edge(env: &Env) -> Result<Edge, Failure> {
    let edge = Edge::new(config(env)?.clone(), Platform::CLOUDFLARE, random_secret()?, random().into()).with_turn();
    let edge = match goop2_door(env)? {
        Some(door) => edge.with_goop2(door),
        None => edge,
    };
    Ok(match retalk_door(env)? {
        Some(door) => edge.with_retalk(door),
        None => edge,
    })
}
