//! `cargo xtask visit`: a user comes online on a page, and stays there until Ctrl-C or until another page is typed.

use std::time::Duration;

use anyhow::{Result, bail};
use devstack::step::{StepFailed, say};
use shared::wire::{ClientMessage, PresenceUpdate, ServerMessage};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    channel::{Channel, ChannelEvent},
    dev::{Wishes, running_stack},
};

/// The user and the page.
#[derive(Debug, clap::Args)]
pub struct Visit {
    /// The user, such as alice.
    pub user_id: String,
    /// The page's URL. An empty URL stands for a page that is not shared.
    pub url: String,
    /// The page's title.
    #[arg(default_value = "")]
    pub title: String,
    /// Disconnect as soon as the edge has taken the page. The user goes offline shortly after, unless another client of theirs is
    /// connected.
    #[arg(long)]
    pub once: bool,
    /// A token of that user. It is needed if the system accepts the tokens of another issuer (`dev --issuer`).
    #[arg(long, env = "PAGENOW_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// The longest wait for the edge's echo of a page change.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns to the page, prints what friends see of it, and stays until Ctrl-C. Each line of standard input is another page to turn
/// to.
pub async fn run(visit: Visit) -> Result<()> {
    let Visit { user_id, url, title, once, token } = visit;
    let mut wishes = Wishes::listen(false)?;
    let mut channel = Channel::new(running_stack()?, user_id.clone(), token);
    let mut page = ClientMessage::UpdatePresence { url, title };
    let mut echo_due: Option<Instant> = None;
    let mut lines = if once { mpsc::channel(1).1 } else { typed_lines() };
    let mut explained = false;
    loop {
        tokio::select! {
            event = channel.next() => match event? {
                ChannelEvent::Connected => say(&format!("{user_id} is connected")),
                ChannelEvent::Lost(why) => say(&format!("not connected: {why}")),
                ChannelEvent::Message(text) => match serde_json::from_str(&text) {
                    // The snapshot is the first message of a connection. From here on the edge takes pages.
                    Ok(ServerMessage::PresenceSnapshot(_)) => {
                        channel.send(&page).await?;
                        echo_due = Some(Instant::now() + PATIENCE);
                    }
                    Ok(ServerMessage::UpdatePresence(update)) if update.user_id.as_str() == user_id => {
                        echo_due = None;
                        println!("{}", seen(&update));
                        if once {
                            break;
                        }
                        if !explained {
                            say("Staying here until Ctrl-C. Another page: type its URL, a space and a title.");
                            explained = true;
                        }
                    }
                    Ok(ServerMessage::Error { detail, .. }) => {
                        bail!(StepFailed::new("Turning to the page", detail, "try another URL"));
                    }
                    _ => {}
                },
            },
            Some(line) = lines.recv() => {
                let (url, title) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
                page = ClientMessage::UpdatePresence { url: url.to_owned(), title: title.trim().to_owned() };
                channel.send(&page).await?;
                echo_due = Some(Instant::now() + PATIENCE);
            }
            () = async { match echo_due { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {
                echo_due = None;
                println!("no word of a change: friends seem to see what they saw before");
                if once {
                    break;
                }
            }
            () = wishes.next() => break,
        }
    }
    channel.close().await;
    Ok(())
}

/// The lines of standard input that are not blank. The end of standard input does not end the command.
fn typed_lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(1);
    // A thread of its own, because a blocking read cannot be cancelled. The program ends without waiting for it.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn seen(echo: &PresenceUpdate) -> String {
    let printable = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    if echo.url.is_empty() {
        return "friends see no page: the share settings hide this one, or it is none that could be shown".to_owned();
    }
    format!("friends see {}: {} <{}>", echo.domain, printable(&echo.title), printable(&echo.url))
}
