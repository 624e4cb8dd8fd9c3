//! How things stand, for whoever asks: the published snapshot, and one line for the service manager.

use super::Turn;
use crate::render::{escape, words};

impl Turn {
    /// The platform's trouble, and whatever else changed.
    pub(super) fn publish(&mut self) {
        let now = self.now();
        let trouble = match &self.unreachable {
            Some(why) => Some(("unreachable", why.clone())),
            None if self.board.is_paused() => Some((
                "auth",
                "the platform refuses the token; renew it, and it goes on by itself".to_owned(),
            )),
            None => None,
        };
        self.daemon.publisher.platform(trouble, now);
        self.daemon.publisher.publish(now);
    }

    /// How things stand, what is wrong before all else.
    pub(super) fn standing(&self) -> String {
        if self.stopping {
            return "Stopping: what is under way is finished first".to_owned();
        }
        let Some(accepted) = &self.accepted else { return "Reading the files".to_owned() };
        let (workspaces, sources, failing) = self.board.tally();
        let mut wrong = Vec::new();
        if self.elsewhere {
            wrong.push("wellspring.toml names another platform, restart to go there".to_owned());
        }
        if self.board.is_paused() {
            wrong.push("the platform refuses the token".to_owned());
        }
        wrong.extend(self.unreachable.as_ref().map(|why| escape::terminal_line(why)));
        let errors = accepted.errors;
        if errors > 0 {
            wrong.push(format!("{} in the files", words::count(errors, "error")));
        }
        if failing > 0 {
            wrong.push(format!("{} failing", words::count(failing, "workspace")));
        }
        let kept =
            format!("{} in {}", words::count(sources, "source"), words::count(workspaces, "workspace"));
        if wrong.is_empty() { kept } else { format!("{}; {kept}", wrong.join("; ")) }
    }
}
