//! `beacons`: many native beacons for a capsule to be made of, and two ways to verify what they serve: the fastest that is
//! known, and the least that the acceptance rule asks for.

use std::io::{self, BufRead as _};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ed25519_dalek::{Signature, VerifyingKey, verify_batch};
use rendezvous_protocol::base64;
use rendezvous_protocol::key::PublicKey;
use rendezvous_protocol::ticket::Ticket;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::Failure;
use crate::respond::{json_answer, listen, serve};
use crate::workload;

#[derive(Args)]
pub(crate) struct BeaconsArguments {
    /// How many beacons.
    #[arg(long)]
    beacons: u64,
    /// Tickets in the list of each, all different.
    #[arg(long)]
    tickets: u64,
    /// Threads that verify.
    #[arg(long)]
    threads: usize,
    /// How long the tickets live.
    #[arg(long, default_value_t = 3_600_000)]
    lifetime_ms: u64,
}

/// Holds the arguments of `verify_batch`, and the keys as tickets have them.
#[derive(Default)]
struct Batch {
    messages: Vec<String>,
    signatures: Vec<Signature>,
    keys: Vec<VerifyingKey>,
    public_keys: Vec<PublicKey>,
}

/// Prints the addresses as a line of JSON, then the microseconds that verifying took: for a line `batch` of input in
/// batches, for a line `singly` one by one.
pub(crate) fn run(arguments: &BeaconsArguments) -> Result<(), Failure> {
    let now = workload::now()?;
    let lifetime = Duration::from_millis(arguments.lifetime_ms);
    let mut batches: Vec<_> = (0..arguments.threads.max(1)).map(|_| Batch::default()).collect();
    let mut answers = Vec::new();
    for beacon in 0..arguments.beacons {
        let tickets = (0..arguments.tickets)
            .map(|number| workload::ticket(beacon, number, now, lifetime))
            .collect::<Result<Vec<_>, _>>()?;
        let turns = (0..batches.len()).cycle();
        for (ticket, turn) in tickets.iter().zip(turns) {
            if let Some(batch) = batches.get_mut(turn) {
                batch.push(ticket)?;
            }
        }
        let peers: Vec<_> = tickets.iter().map(Ticket::to_json).collect();
        let head = json!({ "ok": true, "community": "mainnet", "serverTime": now, "total": peers.len() }).to_string();
        answers.push(format!("{},\"peers\":[{}]}}", head.trim_end_matches('}'), peers.join(",")));
    }

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let answer = line.map_err(Failure::from).and_then(|how| match how.as_str() {
                "singly" => verify_all(&batches, Batch::verify_singly),
                _ => verify_all(&batches, Batch::verify),
            });
            match answer {
                Ok(took) => println!("{}", took.as_micros()),
                Err(failure) => eprintln!("bench-load: {failure}"),
            }
        }
        std::process::exit(0);
    });
    runtime.block_on(LocalSet::new().run_until(async {
        let mut urls = Vec::new();
        for answer in answers {
            let listener = listen().await?;
            urls.push(format!("http://{}", listener.local_addr()?));
            tokio::task::spawn_local(serve(listener, json_answer(answer)));
        }
        println!("{}", serde_json::to_string(&urls)?);
        std::future::pending().await
    }))
}

impl Batch {
    fn push(&mut self, ticket: &Ticket) -> Result<(), Failure> {
        let json: Value = serde_json::from_str(&ticket.to_json())?;
        let signature = json.get("signature").and_then(Value::as_str).and_then(base64::decode_array::<64>);
        self.messages.push(ticket.payload().signed_bytes());
        self.signatures.push(Signature::from_bytes(&signature.ok_or(Failure::Batch)?));
        self.public_keys.push(ticket.public_key());
        self.keys.push(VerifyingKey::from_bytes(ticket.public_key().as_bytes()).map_err(|_| Failure::Batch)?);
        Ok(())
    }

    fn verify(&self) -> Result<(), Failure> {
        let messages: Vec<_> = self.messages.iter().map(String::as_bytes).collect();
        verify_batch(&messages, &self.signatures, &self.keys).map_err(|_| Failure::Batch)
    }

    fn verify_singly(&self) -> Result<(), Failure> {
        let mut all = self.messages.iter().zip(&self.signatures).zip(&self.public_keys);
        let good = all.all(|((message, signature), key)| key.verify(message.as_bytes(), &signature.to_bytes()).is_ok());
        if good { Ok(()) } else { Err(Failure::Batch) }
    }
}

/// Verifies one batch a thread: the larger a batch, the less each signature costs.
fn verify_all(batches: &[Batch], verify: fn(&Batch) -> Result<(), Failure>) -> Result<Duration, Failure> {
    let started = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = batches.iter().map(|batch| scope.spawn(move || verify(batch))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| Failure::Thread)?)
    })?;
    Ok(started.elapsed())
}
