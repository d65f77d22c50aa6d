//! Templates of a folder, as their clients and their operator meet them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::beacon::{Beacon, outcome, program};

fn template(folder: &Path, name: &str) {
    let template = folder.join(name);
    fs::create_dir_all(&template).unwrap();
    fs::write(template.join("manifest.json"), format!(r#"{{"name":"{name}"}}"#)).unwrap();
}

#[test]
fn a_folder_is_offered_as_it_is_at_the_start() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("offered");
    template(&folder, "blog");
    let beacon = Beacon::start(&state.path().join("state"), &[("TEMPLATES_DIR", folder.to_str().unwrap())]);
    template(&folder, "late");
    fs::remove_dir_all(folder.join("blog")).unwrap();
    assert_eq!(beacon.get("/api/templates").json()[0]["dir"], "blog");
    assert_eq!(beacon.get("/api/templates/late/manifest.json").status, 404);
    assert!(beacon.get("/store").body.contains("Download blog.tar.gz"));
    let bundle = beacon.connect().request("HEAD", "/api/templates/blog/bundle", &[], "");
    assert_eq!((bundle.status, bundle.header("Content-Type")), (200, Some("application/gzip")));
    assert_eq!(bundle.header("X-Content-Type-Options"), Some("nosniff"));
    let known = [("If-None-Match", bundle.header("ETag").unwrap())];
    let again = beacon.connect().request("GET", "/api/templates/blog/bundle", &known, "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    beacon.end();
}

#[test]
fn the_default_folder_need_not_be_there_and_is_found_beside_the_program() {
    let state = tempfile::tempdir().unwrap();
    let start = |variables: &[(&str, &str)]| {
        let mut command = program(&[("PORT", "0"), ("STATE", "state")]);
        command.envs(variables.iter().copied()).current_dir(state.path()).arg("serve");
        Beacon::of(command)
    };
    let beacon = start(&[]);
    assert_eq!((beacon.get("/store").status, beacon.get("/api/templates").status), (404, 404));
    beacon.end();
    template(&state.path().join("templates"), "blog");
    let beacon = start(&[]);
    assert_eq!(beacon.get("/api/templates").json()[0]["name"], "blog");
    beacon.end();
}

#[test]
fn a_folder_of_the_default_name_that_is_another_programs_is_said_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("templates")).unwrap();
    fs::write(directory.path().join("templates/base.html"), "<html>").unwrap();
    let mut command = program(&[("PORT", "0"), ("STATE", "state")]);
    command.current_dir(directory.path()).arg("serve");
    let beacon = Beacon::of(command);
    let note = beacon.until("templates_ignored");
    assert_eq!(
        (&note["level"], &note["details"]["cause"]),
        (&"info".into(), &"templates/base.html is not a folder, as a template is".into())
    );
    assert_eq!((beacon.get("/store").status, beacon.get("/peers").status), (404, 200));
    beacon.end();
}

#[test]
fn a_folder_that_cannot_be_offered_is_named_before_anything_is_served() {
    let state = tempfile::tempdir().unwrap();
    let path = |name: &str| state.path().join(name).to_str().unwrap().to_owned();
    template(&state.path().join("broken"), "blog");
    fs::write(state.path().join("broken/blog/manifest.json"), "<html>").unwrap();
    template(&state.path().join("linked"), "blog");
    symlink("/etc/passwd", state.path().join("linked/blog/page.html")).unwrap();
    for (folder, named) in [
        ("absent", "absent cannot be read"),
        ("broken", "broken/blog: the manifest cannot be read: expected value at line 1 column 1"),
        ("linked", "linked/blog/page.html is a link"),
    ] {
        let variables = [("PORT", "0"), ("STATE", &path("state")), ("TEMPLATES_DIR", &path(folder))];
        let (code, output, error) = outcome(program(&variables).arg("serve"));
        assert_eq!((code, output.as_str()), (Some(2), ""), "{error}");
        assert!(error.starts_with("error: TEMPLATES_DIR: ") && error.contains(named), "{error}");
        assert!(error.contains("\nhint: each folder there is a template"), "{error}");
    }
}
