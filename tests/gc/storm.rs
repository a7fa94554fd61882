//! Two servers that write, delete, tier and collect at once, with one process killed
//! at some moment of each round: every file of both comes back, from stubs, from the
//! store alone, and nothing is missing that a log names.

use crate::place::{AT_ONCE, collecting, files, gc_to_the_end, neighbour};
use crate::support::Sandbox;
use crate::support::dice::Dice;
use crate::support::trees::noise;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Contents come back again and again, so that garbage is wanted.
const CONTENTS: u64 = 10;

struct Server {
    sandbox: Sandbox,
    files: BTreeMap<String, u64>,
}

fn bytes_of(content: u64) -> Vec<u8> {
    noise(1000 + content, 30_000 + content as usize * 7_000)
}

impl Server {
    fn new(sandbox: Sandbox) -> Self {
        let mut server = Self { sandbox, files: BTreeMap::new() };
        server.write("always", 0);
        server
    }

    fn write(&mut self, name: &str, content: u64) {
        // A stub that is written over keeps its marker: a file of its own instead.
        let _ = fs::remove_file(self.sandbox.tree().join(name));
        self.sandbox.write(name, &bytes_of(content));
        self.files.insert(name.to_owned(), content);
    }

    fn change(&mut self, dice: &mut Dice) {
        for _ in 0..1 + dice.below(3) {
            let name = format!("d{}/f{}", dice.below(2), dice.below(5));
            if dice.below(3) == 0 && self.files.remove(&name).is_some() {
                fs::remove_file(self.sandbox.tree().join(&name)).unwrap();
            } else {
                self.write(&name, dice.below(CONTENTS));
            }
        }
    }

    fn start(&self, command: &str) -> Child {
        let mut command = self.sandbox.command([command, "--quiet"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("hsm starts")
    }

    /// Everything is a stub and comes back with its bytes.
    fn check(&self, what: &str) {
        for _ in 0..2 {
            self.sandbox.hsm(["tier"]).succeeds();
        }
        self.sandbox.on("recall", &["-r"], &[""]).succeeds();
        for (name, content) in &self.files {
            assert!(self.sandbox.read(name) == bytes_of(*content), "{what}: {name}");
        }
        self.sandbox.hsm(["verify", "--data"]).succeeds();
    }
}

#[test]
fn two_servers_that_tier_and_collect_at_once_and_are_killed_lose_nothing() {
    let rounds = std::env::var("HSM_TEST_GC_ROUNDS").ok().and_then(|text| text.parse().ok());
    let mut dice = Dice::new(20_261_122);
    let first = collecting(AT_ONCE);
    let second = neighbour(&first, AT_ONCE);
    let mut servers = [Server::new(first), Server::new(second)];
    let (mut killed, mut refused) = (0, 0);
    for round in 0..rounds.unwrap_or(24) {
        for server in &mut servers {
            server.change(&mut dice);
        }
        let mut running: Vec<(&str, Child)> = vec![];
        for server in &servers {
            let commands = if dice.below(2) == 0 { ["tier", "gc"] } else { ["gc", "tier"] };
            running.extend(commands.map(|command| (command, server.start(command))));
        }
        let victim = dice.below(running.len() as u64) as usize;
        // Not a synchronisation: the moment of death is meant to be arbitrary.
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
        let _ = running[victim].1.kill();
        for (command, child) in running {
            let ended = child.wait_with_output().expect("the child ends");
            let told = String::from_utf8_lossy(&ended.stderr);
            match ended.status.code() {
                None => killed += 1,
                Some(0) => {}
                // Two of one server: the second does not wait.
                Some(11) => refused += 1,
                // A root that a kill has left half scanned is in doubt.
                Some(1) if told.contains("in doubt") => refused += 1,
                Some(code) => panic!("round {round}: hsm {command} ended with {code}:\n{told}"),
            }
        }
        if round % 6 == 5 {
            servers.iter().for_each(|server| server.check(&format!("round {round}")));
        }
    }
    let ends = files(&servers[0].sandbox.store().join("gc"));
    let ends = ends.filter(|path| path.extension().is_some_and(|end| end == "done")).count();
    assert!(ends > 2 && killed > 5, "{ends} plans ended, {killed} killed, {refused} refused");
    for server in &servers {
        server.check("the end");
        gc_to_the_end(&server.sandbox);
    }
    let url = servers[0].sandbox.store_url();
    let told = servers[0].sandbox.hsm(["verify", "--data", "--store", &url]).succeeds();
    assert!(told.stdout().contains("0 problems"), "{}", told.stdout());
    for server in &servers {
        server.check("after the last collection");
    }
}
