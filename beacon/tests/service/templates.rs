//! Templates: what the list, a manifest, a bundle and the page are answered with, and a host without any.

use std::sync::Arc;

use rendezvous_protocol::network::read_address;
use rendezvous_service::answer::{Answer, Content};
use rendezvous_service::edge::{Edge, Head, Step};
use rendezvous_service::goop2::Door;
use rendezvous_service::templates::{Catalogue, Template, TemplateFiles, TemplateName};
use serde_json::{Value, json};

use crate::host::{Beacon, at, config, get, given, header, json, problem};

const HOSTILE: &str = "<script>alert(1)</script>";

fn catalogue() -> Arc<Catalogue> {
    let template = |name: &str, title: &str| {
        let mut files = TemplateFiles::new(TemplateName::new(name).unwrap());
        let manifest = json!({"name": title, "description": HOSTILE, "category": "club", "icon": "☂"}).to_string();
        files.add("manifest.json".to_owned(), manifest.into_bytes()).unwrap();
        Template::new(&files, [&b"\x1f\x8b"[..], name.as_bytes()].concat()).unwrap()
    };
    Arc::new(Catalogue::new(vec![template("wiki", HOSTILE), template("blog", "A blog")]).unwrap())
}

fn beacon() -> Beacon {
    let mut beacon = Beacon::new(&[]);
    beacon.edge = beacon.edge.with_templates(catalogue());
    beacon
}

/// The answer, and its body.
fn ask(edge: &mut Edge, method: &str, url: &str, if_none_match: &str) -> (Answer, Vec<u8>) {
    let head = Head { method, url, address: read_address("192.0.2.1"), if_none_match, ..Head::default() };
    match edge.receive(at(0), &head) {
        Step::Answer(answer) => (answer.clone(), answer.body.into_bytes()),
        Step::Template(template) => (template.answer, template.body.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_without_templates_has_none_of_their_paths() {
    let mut beacon = Beacon::new(&[]);
    for path in ["/api/templates", "/api/templates/blog/manifest.json", "/api/templates/blog/bundle", "/store"] {
        assert_eq!(problem(&beacon.serve(&get(path))), (404, "NOT_FOUND".to_owned()), "{path}");
    }
}

#[test]
fn the_list_and_the_manifests_are_json_that_any_page_may_read() {
    let mut beacon = beacon();
    let (list, body) = ask(&mut beacon.edge, "GET", "/api/templates?q=1", "");
    assert_eq!((list.status, list.content, header(&list, "Content-Type")), (200, Content::Json, None));
    let list: Value = serde_json::from_slice(&body).unwrap();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|one| one["dir"].as_str().unwrap()).collect();
    assert_eq!(names, ["blog", "wiki"]);
    let (_, manifest) = ask(&mut beacon.edge, "GET", "/api/templates/wiki/manifest.json", "");
    assert_eq!(serde_json::from_slice::<Value>(&manifest).unwrap(), list[1]);
    assert_eq!((&list[1]["name"], &list[1]["source"]), (&json!(HOSTILE), &json!("store")));
}

#[test]
fn a_bundle_is_a_file_to_keep_and_is_not_sent_to_who_has_it() {
    let mut beacon = beacon();
    let (answer, body) = ask(&mut beacon.edge, "GET", "/api/templates/blog/bundle", "\"other\"");
    assert_eq!((answer.status, body.as_slice()), (200, &b"\x1f\x8bblog"[..]));
    let expected = [
        ("Content-Type", "application/gzip"),
        ("Content-Disposition", "attachment; filename=\"blog.tar.gz\""),
        ("Cache-Control", "no-cache"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&answer, name), Some(value));
    }
    assert!(answer.content.headers().contains(&("X-Content-Type-Options", "nosniff")));
    let tag = header(&answer, "ETag").unwrap();
    let (again, body) = ask(&mut beacon.edge, "GET", "/api/templates/blog/bundle", tag);
    assert_eq!((again.status, body.len(), header(&again, "ETag")), (304, 0, Some(tag)));
    let (other, _) = ask(&mut beacon.edge, "GET", "/api/templates/wiki/bundle", tag);
    assert_eq!(other.status, 200);
}

#[test]
fn the_page_runs_nothing_and_what_a_manifest_says_is_text() {
    let mut beacon = beacon();
    let (answer, body) = ask(&mut beacon.edge, "GET", "/store", "");
    assert_eq!((answer.status, answer.content), (200, Content::Page));
    assert_eq!(header(&answer, "Content-Type"), Some("text/html; charset=utf-8"));
    let policy = header(&answer, "Content-Security-Policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    let page = String::from_utf8(body).unwrap();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("href=\"api/templates/blog/bundle\""));
    let mut empty = Beacon::new(&[]);
    empty.edge = empty.edge.with_templates(Arc::new(Catalogue::new(Vec::new()).unwrap()));
    let (_, body) = ask(&mut empty.edge, "GET", "/store", "");
    assert!(String::from_utf8(body).unwrap().contains("There are no templates at the moment."));
}

#[test]
fn a_path_names_a_template_of_the_list_or_nothing() {
    let mut beacon = beacon();
    for path in [
        "/api/templates/",
        "/api/templates/blog",
        "/api/templates/blog/",
        "/api/templates/blog/index.html",
        "/api/templates/BLOG/bundle",
        "/api/templates/../blog/bundle",
        "/api/templates/blog/../../etc/passwd",
        "/api/templates/%62log/bundle",
        "/api/templates//bundle",
        "/api/templatesx",
        "/store/",
    ] {
        assert_eq!(problem(&ask(&mut beacon.edge, "GET", path, "").0).0, 404, "{path}");
    }
    for (method, status) in [("HEAD", 200), ("POST", 405), ("DELETE", 405), ("OPTIONS", 204)] {
        assert_eq!(ask(&mut beacon.edge, method, "/api/templates", "").0.status, status, "{method}");
    }
}

#[test]
fn who_asks_for_templates_pays_as_for_every_request() {
    let mut beacon = Beacon::new(&[("NETWORK_REQUESTS_PER_MINUTE", "40")]);
    beacon.edge = beacon.edge.with_templates(catalogue());
    let served = (0..40).filter(|_| ask(&mut beacon.edge, "GET", "/store", "").0.status == 200).count();
    assert_eq!(served, 10, "an address has a quarter of its network's");
    assert_eq!(problem(&ask(&mut beacon.edge, "GET", "/api/templates", "").0), (429, "THROTTLED".to_owned()));
}

#[test]
fn a_long_bundle_counts_for_several_requests_and_who_has_it_pays_for_one() {
    let mut files = TemplateFiles::new(TemplateName::new("long").unwrap());
    files.add("manifest.json".to_owned(), br#"{"name":"Long"}"#.to_vec()).unwrap();
    let long = Template::new(&files, vec![0; 3 * 1_024 * 1_024]).unwrap();
    let mut beacon = Beacon::new(&[("NETWORK_REQUESTS_PER_MINUTE", "40")]);
    beacon.edge = beacon.edge.with_templates(Arc::new(Catalogue::new(vec![long]).unwrap()));
    let (first, _) = ask(&mut beacon.edge, "GET", "/api/templates/long/bundle", "");
    let tag = header(&first, "ETag").unwrap().to_owned();
    assert_eq!(ask(&mut beacon.edge, "GET", "/api/templates/long/bundle", &tag).0.status, 304);
    assert_eq!(ask(&mut beacon.edge, "GET", "/api/templates/long/bundle", "").0.status, 200);
    let (third, _) = ask(&mut beacon.edge, "GET", "/api/templates/long/bundle", "");
    assert_eq!(problem(&third), (429, "THROTTLED".to_owned()), "nine of ten are used");
    assert_eq!(ask(&mut beacon.edge, "GET", "/api/templates/long/bundle", &tag).0.status, 304);
}

#[test]
fn goop2s_peers_find_the_same_below_their_own_door() {
    let variables = [("COMMUNITIES", "mainnet"), ("GOOP2_COMMUNITIES", "mainnet")];
    let door = Door::parse(&config(&variables), given(&variables)).unwrap().unwrap();
    let mut beacon = Beacon::new(&variables);
    beacon.edge = beacon.edge.with_goop2(door.clone()).with_templates(catalogue());
    for path in ["/api/templates", "/api/templates/blog/manifest.json", "/api/templates/blog/bundle", "/store"] {
        let (_, here) = ask(&mut beacon.edge, "GET", path, "");
        let (answer, there) = ask(&mut beacon.edge, "GET", &format!("/goop2/mainnet{path}"), "");
        assert_eq!((answer.status, there), (200, here), "{path}");
    }
    assert_eq!(ask(&mut beacon.edge, "GET", "/goop2/other/store", "").0.status, 404);
    assert_eq!(json(&beacon.serve(&get("/goop2/mainnet/api/capabilities")))["templates"], true);
    let mut without = Beacon::new(&variables);
    without.edge = without.edge.with_goop2(door);
    assert_eq!(json(&without.serve(&get("/goop2/mainnet/api/capabilities")))["templates"], false);
}
