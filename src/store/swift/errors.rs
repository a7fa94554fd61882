//! From HTTP answers to [`ErrorKind`], with what a person needs to mend it.
//!
//! Statuses as the Swift API reference gives them. 404 is said of an object, of
//! its container and of the account alike, so before an object is called missing
//! the container is asked for (`blaming_the_container`). 498 is Swift's own for
//! "too many requests".

use super::SwiftStore;
use super::http::{Answer, Broken};
use super::session::LoginError;
use crate::store::{Error, ErrorKind};

impl SwiftStore {
    /// The room's error for an answer that is not what was asked for.
    pub(super) fn answered(
        &self,
        answer: &Answer,
        operation: &'static str,
        subject: &str,
    ) -> Error {
        let text = String::from_utf8_lossy(&answer.body);
        let text = plain(&text);
        let kind = kind_of(answer.status, &text);
        let mut detail = format!("the object store answered {}", answer.status);
        if !text.is_empty() {
            detail = format!("{detail}: {text}");
        }
        if let Some(id) = answer.header("x-trans-id") {
            detail = format!("{detail} (transaction {id})");
        }
        self.error(kind, operation, subject).with_detail(detail)
    }

    pub(super) fn broken(&self, broken: Broken, operation: &'static str, subject: &str) -> Error {
        let error = |kind| self.error(kind, operation, subject);
        match broken {
            Broken::Connect(source) => error(ErrorKind::Unreachable)
                .with_detail(format!("cannot connect to the object store: {}", causes(&*source)))
                .with_source(source),
            Broken::Cut(source) => error(ErrorKind::Transient)
                .with_detail("the connection to the object store broke")
                .with_source(source),
            Broken::Silent => {
                error(ErrorKind::Unreachable).with_detail("the object store did not answer in time")
            }
            Broken::TooLong => {
                error(ErrorKind::Integrity).with_detail("more bytes came than were asked for")
            }
            Broken::Request(detail) => error(ErrorKind::BadRequest).with_detail(detail),
        }
    }

    pub(super) fn no_session(
        &self,
        failed: LoginError,
        operation: &'static str,
        subject: &str,
    ) -> Error {
        let url = self.sessions.login().url();
        let error = |kind| self.error(kind, operation, subject);
        match failed {
            LoginError::Broken(Broken::Connect(source)) => error(ErrorKind::Unreachable)
                .with_detail(format!("cannot connect to {url} to log in: {}", causes(&*source)))
                .with_source(source),
            LoginError::Broken(Broken::Silent) => error(ErrorKind::Unreachable)
                .with_detail(format!("{url} did not answer the login in time")),
            LoginError::Broken(broken) => self.broken(broken, operation, subject),
            LoginError::Answered(status @ (401 | 403)) => error(ErrorKind::Denied)
                .with_detail(format!("{url} refused the login ({status}): check the credentials")),
            LoginError::Answered(status @ (408 | 429 | 498 | 500..=599)) => {
                error(kind_of(status, ""))
                    .with_detail(format!("{url} answered the login with {status}"))
            }
            LoginError::Answered(status) => error(ErrorKind::Unreachable).with_detail(format!(
                "{url} answered the login with {status}: is this where one logs in?"
            )),
            LoginError::Unusable(why) => error(ErrorKind::Denied)
                .with_detail(format!("the login at {url} gave nothing to go by: {why}")),
        }
    }
}

fn kind_of(status: u16, text: &str) -> ErrorKind {
    match status {
        404 => ErrorKind::NotFound,
        401 | 403 => ErrorKind::Denied,
        408 | 409 => ErrorKind::Transient,
        412 => ErrorKind::AlreadyExists,
        // Quotas are said with 413, and so is the limit of one object.
        413 if text.to_lowercase().contains("quota") => ErrorKind::Full,
        416 | 422 => ErrorKind::Integrity,
        429 | 498 => ErrorKind::Throttled,
        405 | 501 => ErrorKind::Unsupported,
        507 => ErrorKind::Full,
        500..=599 => ErrorKind::Transient,
        300..=499 => ErrorKind::BadRequest,
        _ => ErrorKind::Other,
    }
}

/// The text of an HTML answer in one short line.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for letter in html.chars().take(1000) {
        match letter {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                text.push(' ');
            }
            letter if !in_tag && !letter.is_control() => text.push(letter),
            _ => {}
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(200).collect()
}

/// The texts of an error and its causes, which hyper does not show by itself.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_404_is_not_found() {
        for status in (300..600).filter(|status| *status != 404) {
            assert_ne!(kind_of(status, ""), ErrorKind::NotFound, "{status}");
        }
        assert_eq!(kind_of(404, ""), ErrorKind::NotFound);
    }

    #[test]
    fn a_quota_is_a_full_store_and_a_large_object_is_not() {
        assert_eq!(kind_of(413, "Upload exceeds quota."), ErrorKind::Full);
        assert_eq!(kind_of(413, "Your request is too large."), ErrorKind::BadRequest);
        assert_eq!(kind_of(498, ""), ErrorKind::Throttled);
        assert_eq!(kind_of(422, ""), ErrorKind::Integrity);
    }

    #[test]
    fn an_html_answer_is_one_line() {
        let html = "<html><h1>Not Found</h1>\n<p>The resource could not be found.</p></html>";
        assert_eq!(plain(html), "Not Found The resource could not be found.");
    }
}
