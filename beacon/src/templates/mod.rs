//! Templates of sites, which the operator offers for download: a list, a manifest and a bundle of each in the shapes that
//! goop2's clients ask for, and a page for people.
//!
//! Out of scope: reading folders and making archives, which is the host's. [`TemplateFiles`] takes what the host finds, and
//! says what may be in a template; [`Template`] and [`Catalogue`] are made of it once, at the start. Nothing of a template
//! is executed or shown as a page here: its files leave in a bundle alone.

mod catalogue;
mod files;
mod page;
mod request;
mod template;

pub use catalogue::Catalogue;
pub use files::{MANIFEST, TemplateError, TemplateFiles, TemplateName, is_hidden};
pub use request::TemplateAnswer;
pub(crate) use request::{is_route, route};
pub use template::Template;
