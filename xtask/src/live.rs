//! `cargo xtask live`: shows a user's friends and their pages in a terminal, as the live channel tells them.
//!
//! Deliberately absent: rules of any kind. It draws what the server sends.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use devstack::step::say;
use shared::{
    api::UserInfo,
    ids::UserId,
    time::Timestamp,
    wire::{Appearance, PageView, PresenceUpdate, ServerMessage},
};

use crate::{
    channel::{Channel, ChannelEvent},
    dev::{Wishes, running_stack},
};

/// The user whose channel is shown, and how it is shown.
#[derive(Debug, clap::Args)]
pub struct Live {
    /// The user, such as bob.
    pub user_id: String,
    /// Print the server's messages as JSON, one a line.
    #[arg(long)]
    pub json: bool,
    /// A token of that user. It is needed if the system accepts the tokens of another issuer (`dev --issuer`).
    #[arg(long, env = "PAGENOW_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// Shows the channel until Ctrl-C.
pub async fn run(live: Live) -> Result<()> {
    let mut wishes = Wishes::listen(false)?;
    let mut channel = Channel::new(running_stack()?, live.user_id, live.token);
    let screen = (!live.json && std::io::stdout().is_terminal()).then(Screen::enter);
    let mut view = View::default();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        let event = tokio::select! {
            event = channel.next() => Some(event?),
            _ = seconds.tick(), if screen.is_some() => None,
            () = wishes.next() => break,
        };
        let news = match event {
            Some(ChannelEvent::Message(text)) if live.json => Some(text),
            Some(event) => view.take(event),
            None => None,
        };
        match &screen {
            Some(screen) => screen.draw(&view.lines(now())),
            None if news.is_some() => println!("{}", news.unwrap_or_default()),
            None => {}
        }
    }
    drop(screen);
    channel.close().await;
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Everything that the messages have told so far.
#[derive(Debug, Default)]
struct View {
    own: Option<UserId>,
    names: BTreeMap<UserId, String>,
    presences: BTreeMap<UserId, Appearance>,
    /// Why there is no connection. `None` while there is one.
    trouble: Option<String>,
}

impl View {
    /// Takes an event. If it is news, returns it as a text for a person.
    fn take(&mut self, event: ChannelEvent) -> Option<String> {
        match event {
            ChannelEvent::Connected => {
                self.trouble = None;
                Some("connected".to_owned())
            }
            ChannelEvent::Lost(why) => {
                self.trouble = Some(why.clone());
                Some(format!("not connected: {why}"))
            }
            // Messages of unknown types are ignored.
            ChannelEvent::Message(text) => self.take_message(serde_json::from_str(&text).ok()?),
        }
    }

    fn take_message(&mut self, message: ServerMessage) -> Option<String> {
        match message {
            ServerMessage::Heartbeat => None,
            ServerMessage::PresenceSnapshot(snapshot) => {
                self.own = Some(snapshot.user_presence.user_id.clone());
                self.names =
                    snapshot.user_info_map.into_values().map(|user| (user.user_id.clone(), name(&user))).collect();
                let all = std::iter::once(snapshot.user_presence).chain(snapshot.presence_arr);
                self.presences = all.map(|presence| (presence.user_id.clone(), presence)).collect();
                Some(self.lines(now()).join("\n"))
            }
            ServerMessage::UpdatePresence(update) => {
                let presence = presence(update);
                let line = self.line(&presence, now());
                self.presences.insert(presence.user_id.clone(), presence);
                Some(line)
            }
            ServerMessage::PresenceTimeout { user_id, last_seen_at } => {
                let presence = offline(user_id.clone(), last_seen_at);
                let line = self.line(&presence, now());
                self.presences.insert(user_id, presence);
                Some(line)
            }
            ServerMessage::FriendAccepted { user } => {
                let user = UserInfo::from(user);
                self.names.insert(user.user_id.clone(), name(&user));
                self.presences.entry(user.user_id.clone()).or_insert_with(|| offline(user.user_id.clone(), None));
                Some(format!("{} is a friend now", name(&user)))
            }
            ServerMessage::FriendUpdated { user } => {
                let before = self.name(&user.user_id);
                let after = name(&user);
                self.names.insert(user.user_id, after.clone());
                (before != after).then(|| format!("{before} is called {after} now"))
            }
            ServerMessage::FriendRemoved { user_id } => {
                self.presences.remove(&user_id);
                Some(format!("{} is a friend no longer", self.name(&user_id)))
            }
            ServerMessage::FriendRequest { user } => {
                Some(format!("{} {} asks to be a friend", printable(&user.first_name), printable(&user.last_name)))
            }
            ServerMessage::FriendRequestRemoved { .. } => Some("a request to be friends is settled".to_owned()),
            ServerMessage::ShareNotification { notification } => Some(format!(
                "{} sends {} {}",
                printable(&notification.first_name),
                printable(&notification.url),
                printable(&notification.title)
            )),
            ServerMessage::ShareNotificationRead { event_ids } => {
                Some(format!("{} shared pages are read", event_ids.len()))
            }
            ServerMessage::SettingsUpdated { .. } => Some("the share settings changed".to_owned()),
            ServerMessage::Error { detail, .. } => Some(format!("refused: {}", printable(&detail))),
        }
    }

    /// The lines of the whole view: the user, then friends who are online, then the others.
    fn lines(&self, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(trouble) = &self.trouble {
            lines.push(format!("not connected: {}", printable(trouble)));
        }
        let Some(own) = self.own.as_ref().and_then(|own| self.presences.get(own)) else {
            lines.push("waiting for the snapshot".to_owned());
            return lines;
        };
        lines.push(format!("{}  (you)", self.line(own, now)));
        let mut friends: Vec<_> = self.presences.values().filter(|friend| friend.user_id != own.user_id).collect();
        friends.sort_by_key(|friend| (friend.page.is_none(), self.name(&friend.user_id)));
        lines.extend(friends.into_iter().map(|friend| self.line(friend, now)));
        lines
    }

    /// The line that shows how a user appears.
    fn line(&self, presence: &Appearance, now: Timestamp) -> String {
        let name = self.name(&presence.user_id);
        let Some(page) = &presence.page else {
            let seen = presence.last_seen_at.map(|at| format!(", active {}", ago(at, now)));
            return format!("○ {name:<20} offline{}", seen.unwrap_or_default());
        };
        let mut line = format!("● {name:<20} ");
        let latest = presence.latest_page.as_ref().filter(|latest| !latest.url.is_empty());
        let written = match (page.url.is_empty(), latest) {
            (false, _) => write!(line, "{}", described(page)),
            (true, Some(latest)) => write!(line, "on a page that is not shown; before, {}", described(latest)),
            (true, None) => write!(line, "on a page that is not shown"),
        };
        if let (Ok(()), Some(since)) = (written, presence.idle_since) {
            line.push_str(&format!("  (idle, {})", ago(since, now)));
        }
        line
    }

    fn name(&self, user_id: &UserId) -> String {
        self.names.get(user_id).cloned().unwrap_or_else(|| printable(user_id.as_str()))
    }
}

fn name(user: &UserInfo) -> String {
    printable(&format!("{} {}", user.first_name, user.last_name))
}

fn described(page: &PageView) -> String {
    printable(&format!("{}: {} <{}>", page.domain, page.title, page.url))
}

/// The text without control characters, which a terminal would execute.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn offline(user_id: UserId, last_seen_at: Option<Timestamp>) -> Appearance {
    Appearance { user_id, page: None, latest_page: None, at: None, last_seen_at, idle: false, idle_since: None }
}

fn presence(update: PresenceUpdate) -> Appearance {
    Appearance {
        user_id: update.user_id,
        page: Some(PageView { url: update.url, title: update.title, domain: update.domain }),
        latest_page: Some(PageView {
            url: update.latest_url,
            title: update.latest_title,
            domain: update.latest_domain,
        }),
        at: Some(update.at),
        last_seen_at: None,
        idle: update.idle,
        idle_since: update.idle_since,
    }
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    match (now.unix_s() - then.unix_s()).max(0) {
        seconds @ 0..=59 => format!("{seconds} s ago"),
        seconds @ 60..=3_599 => format!("{} min ago", seconds / 60),
        seconds @ 3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// The terminal's alternate screen. Dropping this leaves it.
#[derive(Debug)]
struct Screen;

impl Screen {
    fn enter() -> Self {
        // Enters the alternate screen, hides the cursor, and cuts long lines instead of wrapping them.
        print!("\x1b[?1049h\x1b[?25l\x1b[?7l");
        Self
    }

    fn draw(&self, lines: &[String]) {
        let mut frame = "\x1b[H".to_owned();
        for line in lines {
            frame.push_str(line);
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[K\r\nCtrl-C ends this.\x1b[J");
        print!("{frame}");
        if std::io::stdout().flush().is_err() {
            say("the terminal is gone");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print!("\x1b[?7h\x1b[?25h\x1b[?1049l");
        let _ = std::io::stdout().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: &str = r#"{"type":"presence-snapshot","version":1,
        "userPresence":{"userId":"bob","page":{"url":"","title":"","domain":""},
            "latestPage":{"url":"","title":"","domain":""},"lastSeenAt":null,"idle":false,"idleSince":null},
        "presenceArr":[
            {"userId":"al","page":null,"latestPage":null,"lastSeenAt":"1970-01-01T00:00:00Z","idle":false,"idleSince":null},
            {"userId":"cy","page":{"url":"https://a.example/","title":"A\u001b[2J","domain":"a.example"},
                "latestPage":null,"lastSeenAt":null,"idle":false,"idleSince":null}],
        "userInfoMap":{
            "bob":{"user_id":"bob","first_name":"Bob","last_name":"B","profile_image_extension":null},
            "al":{"user_id":"al","first_name":"Al","last_name":"A","profile_image_extension":null},
            "cy":{"user_id":"cy","first_name":"Cy","last_name":"C","profile_image_extension":null}}}"#;

    fn after(messages: &[&str]) -> Vec<String> {
        let mut view = View::default();
        for message in messages {
            view.take(ChannelEvent::Message((*message).to_owned()));
        }
        view.lines(Timestamp::from_unix_ms(7_200_000))
    }

    #[test]
    fn friends_online_come_first_and_titles_cannot_command_the_terminal() {
        let expected = [
            "● Bob B                on a page that is not shown  (you)",
            "● Cy C                 a.example: A[2J <https://a.example/>",
            "○ Al A                 offline, active 2 h ago",
        ];
        assert_eq!(after(&[SNAPSHOT]), expected);
    }

    #[test]
    fn what_happens_after_the_snapshot_changes_the_view() {
        let update = r#"{"type":"update-presence","userId":"al","url":"","title":"","domain":"",
            "latestUrl":"https://b.example/","latestTitle":"B","latestDomain":"b.example","seq":1,
            "at":"1970-01-01T00:00:00Z","idle":true,"idleSince":"1970-01-01T01:59:30Z"}"#;
        let gone = r#"{"type":"presence-timeout","userId":"cy","lastSeenAt":"1970-01-01T01:00:00Z"}"#;
        let expected = [
            "● Bob B                on a page that is not shown  (you)",
            "● Al A                 on a page that is not shown; before, b.example: B <https://b.example/>  (idle, 30 s ago)",
            "○ Cy C                 offline, active 1 h ago",
        ];
        assert_eq!(after(&[SNAPSHOT, update, gone]), expected);
        let removed = r#"{"type":"friend-removed","userId":"cy"}"#;
        assert_eq!(after(&[SNAPSHOT, update, gone, removed]), expected[..2]);
        assert_eq!(after(&[SNAPSHOT, update, gone, r#"{"type":"news-of-tomorrow"}"#]), expected);
    }
}
