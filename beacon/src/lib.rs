//! The service, apart from its hosts: what a beacon does with a request, and with a call of its object.
//!
//! Inputs come in with the time, and what is to be done goes out as values. There is no clock here, no randomness, no
//! storage, no network and nothing asynchronous, so every answer, header and write can be tested as a value.
//!
//! - [`platform::Platform`] is what the host knows of itself, [`own_names::OwnNames`] what it answers to.
//! - [`edge::Edge`] is what one process remembers. A request comes in as a [`edge::Head`], and each [`edge::Step`] says
//!   what the host does next, and with what it resumes.
//! - [`live::Connection`] is one client of `GET /live`, for as long as it stays.
//! - [`community::CommunityObject`] is the one place in the world where a community's roster is. A [`call::Call`] comes
//!   in, an [`answer::Answer`] and [`community::Effects`] go out.
//! - [`goop2::GuestRoom`] is where the guests of a community are, apart from its roster.
//! - [`mailbox::Object`] is the one place in the world where a mailbox is, [`retalk::RetalkObject`] where that of one of
//!   retalk's users is, [`hivemind::HivemindObject`] where that of one of hivemind-rendezvous'. The first two are one
//!   [`mail_object::MailObject`] to a host that calls them by text.
//! - [`directory::HubObject`] is the one place where the entries of a hub are, [`registration::RegistrationObject`] where
//!   registrations are.
//! - [`templates::Catalogue`] has what `GET /api/templates` and `/store` offer.
//!
//! Formats and rules are those of `rendezvous-protocol`. Hosts carry out steps and effects, and decide nothing.

#![forbid(unsafe_code)]

mod activity;
pub mod admin;
pub mod answer;
pub mod asset;
pub mod bodies;
pub mod call;
pub mod circuit_relay;
pub mod community;
pub mod config;
pub mod directory;
pub mod documents;
pub mod edge;
pub mod goop2;
pub mod hivemind;
mod html;
mod info;
pub mod live;
pub mod mail_object;
pub mod mailbox;
pub mod mesh;
mod methods;
mod network_shares;
pub mod note;
pub mod own_names;
pub mod platform;
pub mod problem;
mod query;
pub mod registration;
pub mod retalk;
mod spare;
mod survey;
pub mod templates;
mod turn;
