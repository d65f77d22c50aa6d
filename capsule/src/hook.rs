//! The commands of the publisher's own: one that runs after each capsule that was published (`--run`), to upload or to
//! count it, and one that tells somebody of failures (`--on-failure`).
//!
//! Another program's (`--exec` of `rendezvous`) gets something on its standard input, and runs without a shell.
//!
//! Each learns from variables what there is, and has a time limit, at which it ends with all that it
//! started. What it prints goes to the standard error, because results of this program go to the standard output.
//! The private keys and passphrases that this program got in variables are not handed on; names of files with them are.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::environment;
use crate::log::Log;

/// How often it is looked whether the command has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The time that another program's command has to end after a signal was handed on to it.
pub const GRACE: Duration = Duration::from_secs(5);

/// The longest time that the command of --on-failure may take.
const ON_FAILURE_LIMIT: Duration = Duration::from_secs(60);

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It ended with exit code 0.
    Well,
    /// It did not.
    Badly {
        /// How it ended.
        reason: String,
        /// Whether it was started at all.
        is_started: bool,
    },
}

/// Runs `command`, with `variables` added to the environment, for at most `limit`, or until `is_stopped`.
pub(crate) fn run(command: &str, variables: &[(&str, String)], limit: Duration, is_stopped: impl Fn() -> bool) -> Ran {
    match start(shell(command), variables, Stdio::null()) {
        Ok(child) => Ran::of(wait(child, limit, is_stopped, None), "--run-timeout"),
        Err(error) => Ran::not_started(&error),
    }
}

/// Runs a program without a shell, with `input` on its standard input and `variables` added to the environment, for at
/// most `limit`, which the option `limit_option` sets. Once it `is_stopped` it gets SIGTERM, and has [`GRACE`] to end.
pub fn run_program(
    program: &OsStr,
    arguments: &[OsString],
    variables: &[(&str, String)],
    input: &[u8],
    (limit, limit_option): (Duration, &str),
    is_stopped: impl Fn() -> bool,
) -> Ran {
    let mut command = Command::new(program);
    command.args(arguments);
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = match start(command, variables, Stdio::piped()) {
        Ok(child) => child,
        Err(error) => return Ran::not_started(&error),
    };
    let given = child.stdin.take().map_or(Ok(()), |mut stdin| {
        let input = input.to_vec();
        // A program that does not read what it is given may still end well. Nobody waits for this thread: what the program
        // has started may hold the pipe for ever.
        std::thread::Builder::new().spawn(move || stdin.write_all(&input)).map(drop)
    });
    Ran::of(given.and_then(|()| wait(child, limit, is_stopped, Some(GRACE))), limit_option)
}

impl Ran {
    fn of(ended: io::Result<Ended>, limit_option: &str) -> Self {
        match ended {
            Ok(Ended::ByItself(status)) if status.success() => Self::Well,
            Ok(Ended::ByItself(status)) => Self::badly(format!("it ended with {status}")),
            Ok(Ended::AtLimit) => {
                Self::badly(format!("it did not end in time and was ended ({limit_option} allows more)"))
            }
            Ok(Ended::ByStop) => Self::badly("it was ended, because a signal has come".to_owned()),
            Err(error) => Self::badly(format!("how it ended cannot be told: {error}")),
        }
    }

    const fn badly(reason: String) -> Self {
        Self::Badly { reason, is_started: true }
    }

    fn not_started(error: &io::Error) -> Self {
        Self::Badly { reason: format!("it could not be run: {error}"), is_started: false }
    }
}

/// Whom to tell of failures.
#[derive(Args, Debug)]
pub(crate) struct OnFailureArguments {
    /// Command for the shell, to run when the success rate of 15 minutes falls below 80 %; of check without --history
    /// whenever something is unhealthy.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) on_failure: Option<String>,
}

/// What the command of --on-failure learns, as CAPSULE_SUMMARY and so on.
#[derive(Clone, Debug)]
pub(crate) struct FailureNotice {
    /// One sentence.
    pub(crate) summary: String,
    /// Whose.
    pub(crate) community: String,
    /// The success rate, where there is one.
    pub(crate) per_cent: Option<u64>,
}

impl FailureNotice {
    /// Runs the command. What becomes of it changes nothing else.
    pub(crate) fn tell(&self, command: &str) {
        let Self { summary, community, per_cent } = self;
        let per_cent = per_cent.map(|per_cent| per_cent.to_string()).unwrap_or_default();
        let variables = [
            ("CAPSULE_SUMMARY", summary.clone()),
            ("CAPSULE_COMMUNITY", community.clone()),
            ("CAPSULE_SUCCESS_PERCENT", per_cent),
        ];
        if let Ran::Badly { reason, .. } = run(command, &variables, ON_FAILURE_LIMIT, || false) {
            // Said even with --quiet: somebody was to be told, and was not.
            Log::new(false).note(format_args!("error: --on-failure: {reason}"));
        }
    }
}

/// A group of its own, so that all of it can be ended, and so that a Ctrl-C in the terminal does not cut an upload in the
/// middle.
#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

fn start(mut command: Command, variables: &[(&str, String)], stdin: Stdio) -> io::Result<Child> {
    for name in environment::SECRETS {
        command.env_remove(name);
    }
    for (name, value) in variables {
        command.env(name, value);
    }
    command.stdin(stdin).stdout(io::stderr()).spawn()
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ByItself(ExitStatus),
    AtLimit,
    ByStop,
}

/// Waits until a command has ended, or ends it at the limit, or once it is stopped: at once, or by a signal and after `grace`.
fn wait(
    mut child: Child,
    limit: Duration,
    is_stopped: impl Fn() -> bool,
    grace: Option<Duration>,
) -> io::Result<Ended> {
    let begun = Instant::now();
    let (mut limit, mut how) = (limit, Ended::AtLimit);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ended::ByItself(status));
        }
        if how == Ended::AtLimit && is_stopped() {
            how = Ended::ByStop;
            limit = limit.min(begun.elapsed().saturating_add(grace.unwrap_or_default()));
            if grace.is_some() {
                end_group(&child, Signal::Terminate);
            }
        }
        if begun.elapsed() >= limit {
            end_group(&child, Signal::Kill);
            let _ = child.kill();
            child.wait()?;
            return Ok(how);
        }
        std::thread::sleep(LOOK_EVERY.min(limit.saturating_sub(begun.elapsed())));
    }
}

/// The signals that end a command.
#[derive(Clone, Copy)]
enum Signal {
    Terminate,
    Kill,
}

/// Sends a signal to a command and to all that it has started and that is in its group. It has not been waited for, so that
/// no other process can have its number.
#[cfg(unix)]
fn end_group(child: &Child, signal: Signal) {
    use rustix::process::{Pid, kill_process_group};
    let signal = match signal {
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

/// Groups are not a thing here.
#[cfg(not(unix))]
fn end_group(_child: &Child, _signal: Signal) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn says_how_it_ended() {
        let variables = [("WHAT", "7".to_owned())];
        assert_eq!(run("exit $((WHAT - 7))", &variables, LONG, || false), Ran::Well);
        let Ran::Badly { reason, .. } = run("exit $WHAT", &variables, LONG, || false) else { panic!() };
        assert_eq!(reason, "it ended with exit status: 7");
    }

    #[test]
    fn a_program_gets_its_input_and_arguments_as_they_are() {
        let run = |program: &str, arguments: &[&str], input: &[u8]| {
            let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
            run_program(program.as_ref(), &arguments, &[("WHAT", "7".to_owned())], input, (LONG, "--limit"), || false)
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("$(odd) name");
        let name = path.to_str().unwrap();
        assert_eq!(run("tee", &[name], b"one\0two"), Ran::Well);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\0two");
        // More than a pipe holds, and nobody who reads it.
        assert_eq!(run("true", &[], &vec![0; 1 << 20]), Ran::Well);
        let reason = "it ended with exit status: 7".to_owned();
        assert_eq!(run("sh", &["-c", "exit $WHAT"], b""), Ran::Badly { reason, is_started: true });
        assert!(matches!(run("no-such-program-anywhere", &[], b""), Ran::Badly { is_started: false, .. }));
    }

    #[test]
    fn ends_all_of_it_at_the_limit_and_when_it_is_to_stop() {
        // The sleeping grandchild holds the write end: the read ends when it does.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let begun = Instant::now();
        let mut shell = Command::new("/bin/sh");
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let child = shell.arg("-c").arg("sleep 1000 & wait").stdout(writer).spawn().unwrap();
        drop(shell);
        assert_eq!(wait(child, Duration::from_millis(50), || false, None).unwrap(), Ended::AtLimit);
        assert_eq!(std::io::copy(&mut reader, &mut std::io::sink()).unwrap(), 0);
        assert!(matches!(run("sleep 1000", &[], LONG, || true), Ran::Badly { .. }));
        assert!(begun.elapsed() < LONG);
    }

    #[test]
    fn a_program_that_is_stopped_gets_the_signal_and_has_time_to_end() {
        let shell = |script: &str, is_stopped: &dyn Fn() -> bool| {
            let arguments = ["-c", script].map(OsString::from);
            run_program("sh".as_ref(), &arguments, &[], b"", (LONG, "--limit"), is_stopped)
        };
        let directory = tempfile::tempdir().unwrap();
        let ready = directory.path().join("ready");
        let loops =
            |trap: &str| format!("trap '{trap}' TERM; touch '{}'; while :; do sleep 0.02; done", ready.display());
        for (trap, expected) in [
            ("exit 0", Ran::Well),
            ("exit 7", Ran::badly("it ended with exit status: 7".to_owned())),
            ("", Ran::badly("it was ended, because a signal has come".to_owned())),
        ] {
            assert_eq!(shell(&loops(trap), &|| ready.exists()), expected, "{trap}");
            std::fs::remove_file(&ready).unwrap();
        }
    }
}
