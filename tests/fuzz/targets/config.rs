//! Configurations: a text is refused with a place in it, or read.
#![no_main]

use hsm_fuzz::config::Config;
use hsm_fuzz::units::{parse_duration, parse_percent, parse_rate, parse_size, parse_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = Config::parse("fuzz.toml", text) {
        assert!(!problems.is_empty());
        problems.iter().for_each(|problem| assert!(!problem.to_string().is_empty()));
    }
    let _ = (parse_duration(text), parse_percent(text), parse_rate(text), parse_size(text));
    let _ = parse_time(text, 1_700_000_000_000_000_000);
});
