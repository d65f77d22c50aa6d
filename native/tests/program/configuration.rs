//! Environment beats file beats default, and what cannot be read is named.

use std::path::{Path, PathBuf};

use crate::beacon::{outcome, program};

fn file(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("beacon.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// What is printed of these settings: exit code, output, error.
fn printed(text: &str, variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path(), text);
    outcome(program(variables).args(["serve", "--print-config", "--config"]).arg(path))
}

/// The error of a file, which begins with its name.
fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    let (code, output, error) = printed(text, variables);
    assert_eq!((code, output.as_str()), (Some(2), ""), "{text}: {error}");
    error
}

#[test]
fn the_environment_beats_the_file_which_beats_the_default() {
    let text = "ANSWER_LIMIT = 20\nPORT = \"9000\"\nCOMMUNITIES = [\"a\", \"b\"]\n";
    let (code, output, error) = printed(text, &[("PORT", "9001"), ("STATE", ""), ("ORIGINS", " ")]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let has = |start: &str, end: &str| output.lines().any(|line| line.starts_with(start) && line.ends_with(end));
    for (start, end) in [
        ("PORT = 9001 # ", "the environment"),
        ("ANSWER_LIMIT = 20 # ", "beacon.toml"),
        ("COMMUNITIES = [\"a\", \"b\"] # ", "beacon.toml"),
        ("STATE = \".beacon\" # ", "the default"),
        ("ORIGINS = [] # ", "the default"),
        ("HOST = \"127.0.0.1\" # ", "the default"),
    ] {
        assert!(has(start, end), "{start}{end} in\n{output}");
    }
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let values = |output: &str| -> Vec<_> {
        let lines = output.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(" # ").unwrap().0.to_owned()).collect()
    };
    for text in ["", "COMMUNITIES = \"*\"\nSTATE = 'a \"b\" # c'\n", "ORIGINS = [\"https://a.example\"]\nTHREADS = 2\n"]
    {
        let (_, first, _) = printed(text, &[]);
        let (code, second, error) = printed(&first, &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert_eq!(values(&first), values(&second));
        assert_eq!(values(&first).len(), 66);
    }
}

#[test]
fn a_local_network_is_served_at_an_address_that_it_reaches() {
    let (code, output, error) = outcome(program(&[]).args(["serve", "--print-config", "--lan"]));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for line in ["LAN = \"on\" # an argument", "HOST = \"0.0.0.0\" # the default"] {
        assert!(output.lines().any(|printed| printed == line), "{line} in\n{output}");
    }
    for (text, part) in [
        ("LAN = \"yes\"", "LAN is \"yes\": it must be on or off"),
        (
            "LAN = \"on\"\nHOST = \"127.0.0.1\"",
            "HOST is \"127.0.0.1\": it must be an address that the local network reaches",
        ),
        ("LAN = \"on\"\nHOST = \"[::1]\"", "HOST is \"[::1]\""),
        (
            "LAN = \"on\"\nCLIENT_ADDRESS_HEADER = \"X-Real-IP\"",
            "CLIENT_ADDRESS_HEADER is \"X-Real-IP\": it must be nothing",
        ),
    ] {
        let error = refused(text, &[]);
        assert!(error.contains(part), "{text}: {error}");
    }
    assert_eq!(printed("LAN = \"on\"\nHOST = \"192.0.2.1\"", &[]).0, Some(0));
}

#[test]
fn the_shipped_file_says_the_defaults_of_all_settings() {
    let shipped = include_str!("../../../contrib/rendezvous-beacon.toml");
    let (_, default, _) = printed("", &[]);
    let (code, output, error) = printed(shipped, &[]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for (shipped, default) in output.lines().zip(default.lines()).skip(1) {
        let (value, source) = shipped.rsplit_once(" # ").unwrap();
        assert!(source.ends_with("beacon.toml"), "{shipped}");
        assert_eq!(value, default.rsplit_once(" # ").unwrap().0);
    }
}

#[test]
fn a_field_that_is_not_one_is_refused_and_a_near_miss_named() {
    for (text, named) in [
        ("TRUSTED_TICKET_KEY = []", "TRUSTED_TICKET_KEY is not a setting: TRUSTED_TICKET_KEYS is"),
        ("trusted_ticket_keys = []", "TRUSTED_TICKET_KEYS is"),
        ("COMMUNITY = \"a\"", "COMMUNITIES is"),
        ("ANSWERS = 5", "ANSWERS is not a setting\n"),
        ("[vars]\nANSWER_LIMIT = 5", "vars is not a setting\n"),
        ("ANSWER_LIMIT = 5\nANSWER_LIMIT = 6", "duplicate"),
        ("ANSWER_LIMIT = ", "line 1, is not TOML"),
    ] {
        assert!(refused(text, &[]).contains(named), "{text}: {}", refused(text, &[]));
    }
}

#[test]
fn a_password_is_in_no_message() {
    let broken = "# one\nADMIN_PASSWORD = \"sesame sesame sesame\"\"";
    for text in [broken, "ADMIN_PASSWORD = \"sesame\"", "ADMIN_PASSWORD = [\"sesame\"]"] {
        let error = refused(text, &[]);
        assert!(!error.contains("sesame"), "{text}: {error}");
    }
    assert!(refused(broken, &[]).contains("line 2, is not TOML"), "{}", refused(broken, &[]));
}

#[test]
fn a_value_of_another_type_is_named_and_never_absent() {
    for (text, named) in [
        ("TRUSTED_TICKET_KEYS = true", "TRUSTED_TICKET_KEYS is true or false: it must be a list of texts"),
        ("TRUSTED_TICKET_KEYS = [1]", "TRUSTED_TICKET_KEYS is a whole number: it must be a list of texts"),
        ("TRUSTED_TICKET_KEYS = [[]]", "TRUSTED_TICKET_KEYS is a list"),
        ("[REVOKED_TICKET_KEYS]", "REVOKED_TICKET_KEYS is a table"),
        ("COMMUNITIES = [\"a,b\"]", "COMMUNITIES has the item \"a,b\""),
        ("COMMUNITIES = [\"\"]", "COMMUNITIES has the item \"\""),
        ("COMMUNITIES = [\"*\", \"a\"]", "COMMUNITIES is \"*,a\""),
        ("DEFAULT_COMMUNITY = 5", "DEFAULT_COMMUNITY is a whole number: it must be a text"),
        ("DEFAULT_COMMUNITY = 2026-01-01", "DEFAULT_COMMUNITY is a date"),
        ("ANSWER_LIMIT = 5.0", "ANSWER_LIMIT is a number with a point: it must be a whole number"),
        ("ANSWER_LIMIT = 201", "ANSWER_LIMIT is \"201\""),
        ("ANSWER_LIMIT = \"many\"", "ANSWER_LIMIT is \"many\""),
        ("PORT = 65536", "PORT is \"65536\""),
        ("HOST = \"beacon.example\"", "HOST is \"beacon.example\""),
        ("STATE = \"\"", "STATE is \"\""),
        ("METRICS_ADDRESS = \"9090\"", "METRICS_ADDRESS is \"9090\""),
        ("THREADS = 0", "THREADS is \"0\""),
    ] {
        let error = refused(text, &[]);
        assert!(error.contains(named) && error.contains("beacon.toml"), "{text}: {error}");
    }
    assert!(refused("", &[("ANSWER_LIMIT", "0")]).contains("ANSWER_LIMIT is \"0\""));
    assert!(refused("", &[("ANSWER_LIMIT", "0")]).contains("the environment"));
}

#[test]
fn an_environment_is_full_of_others_names_and_near_misses_are_refused() {
    let (code, _, error) = printed("", &[("HOME", "/root"), ("TERM", "dumb"), ("HOSTNAME", "a"), ("LIMIT", "1")]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let error = refused("", &[("TRUSTED_TICKET_KEY", "AAAA")]);
    assert!(error.contains("TRUSTED_TICKET_KEYS is\nhint: rename it"), "{error}");
    // It is set to nothing, so nothing is lost.
    assert_eq!(printed("", &[("TRUSTED_TICKET_KEY", "")]).0, Some(0));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let text = file(directory.path(), "\u{feff}ANSWER_LIMIT = 5");
    assert_eq!(
        outcome(program(&[]).args(["serve", "--print-config", "--config"]).arg(&text)).0,
        Some(0),
        "a byte order mark"
    );
    std::fs::write(&text, [0xff]).unwrap();
    let long = directory.path().join("long.toml");
    std::fs::write(&long, " ".repeat(1024 * 1024 + 1)).unwrap();
    for (path, named) in [
        (&missing, "missing.toml cannot be read"),
        (&text, "beacon.toml cannot be read"),
        (&long, "long.toml is longer"),
    ] {
        let (code, output, error) = outcome(program(&[]).args(["serve", "--config"]).arg(path));
        assert_eq!((code, output.as_str()), (Some(2), ""));
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn the_relay_and_its_secret_go_together_and_the_secret_is_not_printed() {
    let urls = ("TURN_URLS", "turn:turn.example");
    for (variables, named) in [
        (&[urls][..], "TURN_SECRET is \"\""),
        (&[("TURN_SECRET", "north west south east")], "TURN_URLS is \"\""),
        (&[urls, ("TURN_SECRET", "north")], "TURN_SECRET is \"not shown\""),
        (&[urls, ("TURN_SECRET", "north west south east")], "it must be empty unless COMMUNITIES names communities"),
    ] {
        let error = refused("", variables);
        assert!(error.contains(named) && !error.contains("north"), "{error}");
    }
    let (code, output, error) =
        printed("", &[("COMMUNITIES", "mainnet"), urls, ("TURN_SECRET", "north west south east")]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(
        output.contains("\n# TURN_SECRET, not shown, # the environment\n") && !output.contains("north"),
        "{output}"
    );
}

#[test]
fn the_operators_password_and_address_go_together_and_the_password_is_not_printed() {
    const PASSWORD: &str = "correct horse battery staple";
    for (variables, named) in [
        (&[("ADMIN_PASSWORD", "hunter2"), ("ADMIN_ADDRESS", "127.0.0.1:0")][..], "ADMIN_PASSWORD is \"not shown\""),
        (&[("ADMIN_PASSWORD", PASSWORD)], "ADMIN_ADDRESS is \"\""),
        (&[("ADMIN_ADDRESS", "127.0.0.1:0")], "ADMIN_PASSWORD is \"\""),
        (&[("ADMIN_PASSWORD", PASSWORD), ("ADMIN_ADDRESS", "8786")], "ADMIN_ADDRESS is \"8786\""),
    ] {
        let error = refused("", variables);
        assert!(error.contains(named) && !error.contains("horse") && !error.contains("hunter2"), "{error}");
    }
    let (code, output, error) = printed("", &[("ADMIN_PASSWORD", PASSWORD), ("ADMIN_ADDRESS", "127.0.0.1:8786")]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(
        output.contains("\n# ADMIN_PASSWORD, not shown, # the environment\n") && !output.contains("horse"),
        "{output}"
    );
}

#[test]
fn registrations_of_a_directory_that_has_none_are_an_error_that_names_it_and_the_way_to_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    let configured = file(directory.path(), &format!("STATE = '{}'\n", absent.display()));
    for arguments in [&["list"][..], &["remove", "--email", "a@b.example"]] {
        for state in [directory.path(), &absent] {
            let (code, output, error) =
                outcome(program(&[("STATE", state.to_str().unwrap())]).arg("registrations").args(arguments));
            let named = format!("error: {} is not there\nhint: ", state.join("registration.sqlite").display());
            assert_eq!((code, output.as_str()), (Some(1), ""), "{error}");
            assert!(error.starts_with(&named) && error.contains("STATE") && error.contains("--config"), "{error}");
        }
        let (code, _, error) =
            outcome(program(&[]).arg("registrations").args(arguments).arg("--config").arg(&configured));
        assert!(code == Some(1) && error.contains("absent/registration.sqlite is not there"), "{error}");
    }
    assert!(!absent.exists(), "nothing is made by a look");
}

#[test]
fn registrations_are_listed_where_a_password_is_set_for_the_service_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let text = format!("STATE = '{}'\nSMTP_HOST = \"mail.example\"\nSMTP_USERNAME = \"beacon\"\n", state.display());
    let path = file(directory.path(), &text);
    let listed = outcome(program(&[]).args(["registrations", "list", "--config"]).arg(&path));
    assert!(listed.0 == Some(1) && !listed.2.contains("SMTP_PASSWORD"), "{listed:?}");
    let unset =
        outcome(program(&[]).args(["registrations", "list", "--config"]).arg(file(directory.path(), "STATE = ' '")));
    assert!(unset.0 == Some(2) && unset.2.contains("STATE is \" \": it must be a directory"), "{unset:?}");
}
