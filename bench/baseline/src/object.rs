//! The empty object.

use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::{constant, settings};

/// Reads whatever it is sent, and keeps nothing.
#[durable_object]
pub struct Empty {
    env: Env,
}

impl DurableObject for Empty {
    fn new(_state: State, env: Env) -> Self {
        Self { env }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        request.bytes().await?;
        Ok(constant(settings(&self.env)))
    }
}
