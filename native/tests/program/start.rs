//! A start that cannot succeed: what it says, and its exit code.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::beacon::{Beacon, outcome, program};

/// The error of a start with these variables. It says it on the standard error, and nothing on the output.
fn refused(expected: i32, variables: &[(&str, &str)]) -> String {
    let (code, output, error) = outcome(program(variables).arg("serve"));
    assert_eq!((code, output.as_str()), (Some(expected), ""), "{error}");
    assert!(error.starts_with("error: "), "{error}");
    error
}

#[test]
fn a_port_in_use_is_named() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let state = state.path().to_str().unwrap();
    let error = refused(1, &[("STATE", state), ("PORT", &port)]);
    assert!(error.contains("HOST and PORT") && error.contains(&port) && error.contains("\nhint: "), "{error}");
    let address = format!("127.0.0.1:{port}");
    let error = refused(1, &[("STATE", state), ("PORT", "0"), ("METRICS_ADDRESS", &address)]);
    assert!(error.contains("METRICS_ADDRESS") && error.contains(&port), "{error}");
}

#[test]
fn a_second_process_on_one_state_is_refused_and_the_first_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let beacon = Beacon::start(state.path(), &[]);
    let error = refused(1, &[("STATE", state.path().to_str().unwrap()), ("PORT", "0")]);
    assert!(error.contains("another process") && error.contains("STATE of its own"), "{error}");
    assert_eq!(beacon.get("/healthz").status, 200);
    beacon.kill();
    Beacon::start(state.path(), &[]).end();
}

#[test]
fn a_state_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("state");
    let error = refused(1, &[("STATE", inside.to_str().unwrap()), ("PORT", "0")]);
    assert!(error.contains("cannot be made") && error.contains("may write to"), "{error}");
    // A directory where the lock should be: nobody, not even root, writes into that.
    std::fs::create_dir_all(directory.path().join("state/lock")).unwrap();
    let error = refused(1, &[("STATE", directory.path().join("state").to_str().unwrap()), ("PORT", "0")]);
    assert!(error.contains("cannot be written") && error.contains("may write to"), "{error}");
}

#[test]
fn a_database_of_another_kind_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("beacon.sqlite");
    let state = directory.path().to_str().unwrap();
    std::fs::write(&database, "not a database, though long enough to have a header of one".repeat(40)).unwrap();
    let before = std::fs::read(&database).unwrap();
    assert!(refused(1, &[("STATE", state), ("PORT", "0")]).contains("not a database of this program"));
    assert_eq!(std::fs::read(&database).unwrap(), before);
    std::fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(refused(1, &[("STATE", state), ("PORT", "0")]).contains("not a database of this program"));
    other.execute_batch("DROP TABLE theirs; PRAGMA application_id = 0x7276626e; PRAGMA user_version = 2").unwrap();
    assert!(refused(1, &[("STATE", state), ("PORT", "0")]).contains("later version"));
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (state, elsewhere) = (directory.path().join("state"), directory.path().join("elsewhere"));
    std::fs::create_dir(&state).unwrap();
    std::os::unix::fs::symlink(&elsewhere, state.join("lock")).unwrap();
    let variables = [("STATE", state.to_str().unwrap()), ("PORT", "0")];
    let error = refused(1, &variables);
    let lock = state.join("lock");
    let said = format!("error: {} is a symbolic link, which is not followed\nhint: remove it\n", lock.display());
    assert_eq!(error, said);
    assert!(!elsewhere.exists() && std::fs::read_dir(&state).unwrap().count() == 1);
    std::fs::write(&elsewhere, "somebody else's").unwrap();
    refused(1, &variables);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "somebody else's");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let key = "MC4CAQAwBQYDK2VwBCIEIB8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8f";
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    for secret in [pem.as_str(), key, key.get(5..).unwrap()] {
        for arguments in [
            &[secret][..],
            &["serve", secret],
            &["serve", "--config", secret],
            &["serve", "--print-config", "--config", secret],
            &["registrations", secret],
        ] {
            let (code, output, error) = outcome(program(&[]).args(arguments));
            assert_eq!((code, output.as_str()), (Some(2), ""), "{error}");
            assert!(!error.contains(secret.trim_end().lines().nth(1).unwrap_or(secret)), "{error}");
            assert!(!error.contains("BEGIN PRIVATE"), "{error}");
        }
    }
    let (_, _, error) = outcome(program(&[]).arg(&pem));
    assert!(error.contains("make a new one"), "{error}");
    let (_, _, error) = outcome(program(&[]).arg("a\u{1b}[2J"));
    assert!(error.contains("a\\u{1b}[2J"), "{error}");
    let address = "https://zoe:sesame@a.example";
    for variable in ["HOST", "METRICS_ADDRESS", "EXTERNAL_URLS", "ORIGINS", "SMTP_HOST", "OTHER_BEACONS", "CAPSULES"] {
        let error = refused(2, &[(variable, address)]);
        assert!(error.contains(variable) && !error.contains("sesame") && !error.contains("zoe"), "{error}");
    }
}

#[cfg(not(feature = "relay"))]
#[test]
fn a_relay_that_is_not_in_the_program_is_refused_with_how_to_build_one_that_has_it() {
    let state = tempfile::tempdir().unwrap();
    let error = refused(2, &[("STATE", state.path().to_str().unwrap()), ("PORT", "0"), ("RELAY_PORT", "4001")]);
    let said = "error: RELAY_PORT is set, and this program was built without the relay\nhint: build it with the relay: cargo \
                build --locked --profile native --package rendezvous-native --features relay\n";
    assert_eq!(error, said);
}

#[test]
fn a_relay_beside_the_beacon_and_one_elsewhere_are_one_too_many() {
    let elsewhere = "/ip4/203.0.113.9/tcp/4001/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";
    let error = refused(2, &[("RELAY_PORT", "4001"), ("CIRCUIT_RELAY_ADDRESSES", elsewhere)]);
    assert!(error.contains("CIRCUIT_RELAY_ADDRESSES is") && error.contains("empty where RELAY_PORT is set"), "{error}");
    let error = refused(2, &[("RELAY_PORT", "4001"), ("HOST", "0.0.0.0")]);
    assert!(error.contains("EXTERNAL_URLS is") && error.contains("where peers are told to dial"), "{error}");
}

/// The databases, each with the variables that have it opened.
const DATABASES: [(&str, &[(&str, &str)]); 5] = [
    ("beacon.sqlite", &[]),
    ("mail.sqlite", &[]),
    ("directory.sqlite", &[("HUB_ORIGINS", "AxDKh5Yv9zSlKstUPArCsdphtaYO7PbGMslsSBJoX4o=")]),
    (
        "registration.sqlite",
        &[
            ("EXTERNAL_URLS", "https://beacon.example"),
            ("SMTP_HOST", "mail.example"),
            ("SMTP_FROM", "beacon@beacon.example"),
        ],
    ),
    ("envelopes.sqlite", &[("REPLICATION_PEERS", "https://peer.example=0123456789abcdef0123456789abcdef")]),
];

#[test]
fn a_database_that_is_empty_or_missing_beside_its_log_is_not_one_that_is_new() {
    for (file, variables) in DATABASES {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().to_str().unwrap();
        let variables = [&[("STATE", state), ("PORT", "0")], variables].concat();
        let path = directory.path().join(file);
        let log = directory.path().join(format!("{file}-wal"));
        std::fs::write(&path, "").unwrap();
        let error = refused(1, &variables);
        assert!(error.contains(&format!("{file} is empty")), "{error}");
        assert!(error.contains("-wal and -shm"), "{error}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "it is left as it is");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&log, "some changes").unwrap();
        let error = refused(1, &variables);
        assert!(error.contains(&format!("{file} is missing")) && error.contains("-wal and -shm"), "{error}");
        assert!(!path.exists());
        std::fs::remove_file(&log).unwrap();
        Beacon::start(directory.path(), &variables).end();
        assert!(path.exists() && !log.exists(), "{file}");
    }
}

#[test]
fn a_start_that_was_killed_while_it_made_a_database_keeps_no_other_from_it() {
    let (file, _) = DATABASES[0];
    let state = tempfile::tempdir().unwrap();
    for ending in ["", "-wal", "-shm", "-journal"] {
        std::fs::write(state.path().join(format!("{file}.new{ending}")), "half of it").unwrap();
    }
    let beacon = Beacon::start(state.path(), &[]);
    assert_eq!(beacon.announce("ann").status, 200);
    beacon.end();
    let mut names: Vec<_> = std::fs::read_dir(state.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["beacon.sqlite", "lock", "mail.sqlite"]);
}

#[test]
fn what_the_database_looks_like_is_pinned() {
    let state = tempfile::tempdir().unwrap();
    Beacon::start(state.path(), &[]).end();
    let connection = rusqlite::Connection::open(state.path().join("beacon.sqlite")).unwrap();
    let text = |query| connection.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    let number = |query| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        text("SELECT sql FROM sqlite_schema WHERE name = 'roster'"),
        "CREATE TABLE roster (object TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT"
    );
    assert_eq!(text("PRAGMA journal_mode"), "wal");
    assert_eq!(number("PRAGMA application_id"), 0x7276_626e);
    assert_eq!(number("PRAGMA user_version"), 1);
}

#[test]
fn nobody_else_reads_the_state() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("of/the/beacon");
    let beacon = Beacon::start(&state, &[]);
    beacon.announce("ann");
    let mut names = Vec::new();
    for path in std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).chain([state.clone()]) {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{path:?}");
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert!(names.contains(&"beacon.sqlite-wal".to_owned()), "{names:?}");
}

#[test]
fn a_row_that_cannot_be_read_is_said_and_left_aside() {
    let state = tempfile::tempdir().unwrap();
    Beacon::start(state.path(), &[]).end();
    let connection = rusqlite::Connection::open(state.path().join("beacon.sqlite")).unwrap();
    connection.execute("INSERT INTO roster VALUES ('mainnet', '{')", []).unwrap();
    drop(connection);
    let beacon = Beacon::start(state.path(), &[]);
    assert_eq!(beacon.announce("ann").status, 200);
    beacon.until("snapshot_unreadable");
    beacon.end();
    assert_eq!(Beacon::start(state.path(), &[]).peers("/peers"), ["ann"]);
}

#[test]
fn help_teaches_and_a_wrong_argument_is_a_wrong_use() {
    for arguments in [&["--help"][..], &["-h"], &["serve", "--help"]] {
        let (code, output, error) = outcome(program(&[]).args(arguments));
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert!(output.contains("Usage: rendezvous-beacon"), "{output}");
    }
    let (_, output, _) = outcome(program(&[]).args(["serve", "--help"]));
    assert!(output.contains("--print-config"));
    let words: Vec<_> = output.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_')).collect();
    let (_, settings, _) = outcome(program(&[]).args(["serve", "--print-config"]));
    // Every setting is printed with its value, or behind a # where it has none.
    let names =
        settings.lines().filter_map(|line| line.trim_start_matches("# ").split_once(" = ")).map(|(name, _)| name);
    let names: Vec<_> = names.collect();
    assert!(names.contains(&"PORT") && names.contains(&"TURN_SECRET"), "{settings}");
    for name in names {
        assert!(words.contains(&name), "`serve --help` lacks {name}");
    }
    let (code, output, _) = outcome(program(&[]).arg("--version"));
    assert_eq!((code, output.as_str()), (Some(0), concat!("rendezvous-beacon ", env!("CARGO_PKG_VERSION"), "\n")));
    for arguments in [&[][..], &["serve", "--port", "1"], &["server"]] {
        let (code, output, error) = outcome(program(&[]).args(arguments));
        assert_eq!((code, output.as_str(), error.is_empty()), (Some(2), "", false));
    }
}

#[test]
fn by_the_name_of_retalks_server_it_needs_no_command_and_refuses_what_it_cannot_keep() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("retalk-server");
    symlink(env!("CARGO_BIN_EXE_rendezvous-beacon"), &link).unwrap();
    let start = |variables: &[(&str, &str)]| {
        let mut command = Command::new(&link);
        command.env_clear().envs(variables.iter().copied()).current_dir(directory.path());
        command
    };
    let audience = ("SERVER_AUDIENCE", "http://127.0.0.1:8766");
    let beacon = Beacon::of(start(&[audience, ("SERVER_HOST", "127.0.0.1"), ("PORT", "0")]));
    assert_eq!(beacon.get("/info").json()["max_group_size"], 100);
    beacon.end();
    assert!(directory.path().join("server.db.d/mail.sqlite").exists());
    let (code, output, error) = outcome(&mut start(&[audience, ("RETALK_SERVER_REQUIRE_API_KEY", "1")]));
    assert_eq!((code, output.as_str()), (Some(2), ""));
    assert!(error.starts_with("error: RETALK_SERVER_REQUIRE_API_KEY"), "{error}");
}
