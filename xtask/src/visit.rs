//! `cargo xtask visit`: a user turns to a page, and stays there until told otherwise.

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

/// Who turns to what.
#[derive(Debug, clap::Args)]
pub struct Visit {
    /// The user, such as alice.
    pub user_id: String,
    /// The page's URL. Empty: a page that is not shared.
    pub url: String,
    /// The page's title.
    #[arg(default_value = "")]
    pub title: String,
    /// Leave as soon as the edge has taken the page. Where no other client of the user is connected, they are
    /// offline shortly after.
    #[arg(long)]
    pub once: bool,
    /// A token of that user, where the stack takes those of another issuer.
    #[arg(long, env = "PAGENOW_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// Time within which the edge echoes a change to the one who made it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Turns to the page, says what friends see of it, and stays until Ctrl-C; meanwhile lines of standard input are
/// further pages to turn to.
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
                    // The first message of a connection: from here on pages are taken.
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

/// Lines of standard input that are not blank. Its end ends nothing else.
fn typed_lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(1);
    // A thread by itself: a read cannot be called off, and nobody waits for this one at the end.
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
