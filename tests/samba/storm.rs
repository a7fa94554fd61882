//! Clients at work while one run after the other makes stubs of everything.

use super::super::support::Ran;
use super::super::support::running::PATIENCE;
use super::server::{Server, bytes};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const ROUNDS: u64 = 12;

/// Each client has a document of its own and saves it in another way.
#[test]
fn nobody_loses_a_byte_while_everything_becomes_stubs() {
    let test = "nobody_loses_a_byte";
    let Some(server) = Server::new(test) else { return };
    let (Some(mut in_place), Some(mut replacing)) = (server.client(test), server.client(test))
    else {
        return;
    };
    server.stubs(&[("place.db", 0), ("replaced.docx", 0), ("cold.pdf", 99)]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (server, over) = (&server, &over);
        let runs = scope.spawn(move || {
            let mut runs = 0;
            while !over.load(Ordering::Relaxed) {
                // A file that changes under the upload is passed over: exit 3.
                let mut tier = server.guarded.sandbox.command(["tier"]);
                let ran = Ran::within(PATIENCE, &mut tier);
                assert!([0, 3].contains(&ran.code()), "{}", ran.stderr());
                runs += 1;
            }
            runs
        });
        let writing = scope.spawn(move || {
            let mut want = bytes(0);
            for round in 0..ROUNDS {
                in_place.open("h", "place.db", "write", "batch");
                in_place.reads("h", &want);
                let at = (round * 20_011) as usize;
                let text = format!("round {round:06}");
                want[at..at + text.len()].copy_from_slice(text.as_bytes());
                in_place.write("h", at as u64, text.as_bytes());
                in_place.close("h");
            }
            want
        });
        let saving = scope.spawn(move || {
            for round in 0..ROUNDS {
                replacing.open("old", "replaced.docx", "read", "batch");
                replacing.reads("old", &bytes(round));
                replacing.close("old");
                replacing.create("new", "save.tmp", "create");
                replacing.write("new", 0, &bytes(round + 1));
                replacing.rename("new", "replaced.docx", true);
                replacing.close("new");
            }
            bytes(ROUNDS)
        });
        let reading = scope.spawn(move || {
            for _ in 0..ROUNDS {
                assert!(server.get("cold.pdf") == bytes(99));
            }
        });
        let ended = (writing.join(), saving.join(), reading.join());
        over.store(true, Ordering::Relaxed);
        let runs = runs.join().expect("the runs");
        let (Ok(place), Ok(replaced), Ok(())) = ended else { panic!("a client failed") };
        assert!(runs > 1, "{runs} runs are no storm");
        assert!(server.get("place.db") == place && server.get("replaced.docx") == replaced);
    });
    server.let_go();
    server.tier();
    for name in ["place.db", "replaced.docx", "cold.pdf"] {
        assert!(server.guarded.is_stub(name) && server.is_offline(name), "{name}");
    }
}
