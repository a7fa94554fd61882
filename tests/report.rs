//! `hsm report`: what its page counts, shows and says, in a real browser.

#[path = "support/browser.rs"]
mod browser;
mod support;

mod report {
    mod counts;
    mod file;
    mod looks;
    mod names;
    mod recalls;
}
