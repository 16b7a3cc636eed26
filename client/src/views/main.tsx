/** The frame of all views: the current screen, the tabs, the state of the connection, and the last message to the person. */

import { useSignal } from "@preact/signals";
import { render } from "preact";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

import { type Moment, unread, waiting } from "../scene";
import { Account, EditProfile } from "./account";
import { GetStarted, Register, SignIn, Welcome, entryFor, takeReturn } from "./entry";
import { Friends } from "./friends";
import { Inbox } from "./inbox";
import { Me } from "./me";
import { Button, Icon } from "./parts";
import { Blocked, Person, Search } from "./people";
import { alive, ask, broken, scene, start, t } from "./port";
import { SharePage } from "./share";
import { attempt, back, go, place, said } from "./state";
import "./style.css";

function App() {
  return (
    <>
      <Connection />
      <Body />
      {said.value && <div class={`said${said.value.bad ? " bad" : ""}`}>{said.value.text}</div>}
      {/* The one live region, which screen readers read aloud: the state of the connection, and the outcome of actions. */}
      <div class="visually-hidden" role="status">
        <p>{connectionInWords()}</p>
        <p>{said.value?.text}</p>
      </div>
    </>
  );
}

function Body() {
  if (broken.value) return <Broken />;
  if (!alive.value && scene.value.signIn.is === "unknown") return <main class="entry" aria-busy="true" />;
  const [first, second] = place.value;
  const surface = document.documentElement.dataset.surface;
  if (first === "welcome" && SITE.surface !== "page") return <Welcome />;
  switch (entryFor()) {
    case "welcome":
      return surface === "tab" ? <Welcome /> : <GetStarted />;
    case "sign-in":
      return <SignIn />;
    case "register":
      return <Register />;
    case null:
  }
  if (first === "search") return <Search />;
  if (first === "user" && second) return <Person key={second} id={second} />;
  if (first === "share") return <SharePage whom={second} />;
  if (first === "me" && second === "profile") return <EditProfile />;
  if (first === "me" && second === "account") return <Account />;
  if (first === "me" && second === "blocked") return <Blocked />;
  return <Tabs at={first === "inbox" || first === "me" ? first : "friends"} />;
}

/** Shown when the worker cannot start, so nothing can be drawn. */
function Broken() {
  return (
    <main class="entry">
      <h1>{t.value.brokenTitle}</h1>
      <p role="alert">{t.value.brokenText}</p>
      <Button kind="primary" onClick={() => location.reload()}>
        {t.value.tryAgain}
      </Button>
    </main>
  );
}

const SCREENS = { friends: Friends, inbox: Inbox, me: Me };
type TabName = keyof typeof SCREENS;

function Tabs({ at }: { at: TabName }) {
  const Shown = SCREENS[at];
  const names: Record<TabName, string> = { friends: t.value.friends, inbox: t.value.inbox, me: t.value.me };
  const count = waiting(scene.value);
  const tab = (name: TabName) => (
    <a href={`#/${name}`} aria-current={at === name ? "page" : undefined}>
      <Icon name={name} />
      <span>
        {names[name]}
        {name === "inbox" && count > 0 && <span class="badge">{unread(scene.value).length >= 100 ? "99+" : count}</span>}
      </span>
    </a>
  );
  return (
    <>
      <Shown />
      <nav class="tabs">
        {tab("friends")}
        {tab("inbox")}
        {tab("me")}
      </nav>
    </>
  );
}

/** Says what is wrong with the connection, and what the person can do. Empty while all is well. */
function Connection() {
  const { link, signIn, account } = scene.value;
  if (signIn.is !== "in" || account === "new" || !alive.value) return null;
  const bar = (text: JSX.Element | string, button?: JSX.Element) => (
    <div class="connection">
      <span>{text}</span>
      {button}
    </div>
  );
  const connect = (label: string) => (
    <Button kind="quiet" small onClick={() => void attempt(ask("connect-now", {}))}>
      {label}
    </Button>
  );
  switch (link.is) {
    case "waiting": {
      return bar(<Countdown until={link.until} />, connect(t.value.tryNow));
    }
    case "stopped":
      return link.why === "gone" ? bar(t.value.accountGone) : bar(t.value.elsewhere, connect(t.value.useHere));
    default:
      return null;
  }
}

function Countdown({ until }: { until: Moment }) {
  const seconds = useSignal(0);
  useEffect(() => {
    const count = () => {
      seconds.value = Math.max(0, Math.ceil((until - Date.now()) / 1_000));
    };
    count();
    const timer = setInterval(count, 1_000);
    return () => clearInterval(timer);
  }, [until]);
  return <>{seconds.value > 0 ? t.value.reconnectingIn(seconds.value) : t.value.connecting}</>;
}

/** Whether the connection was lost and is not back yet. */
let lost = false;

/** The state of the connection for screen readers, without details that change every second or at every attempt. */
function connectionInWords(): string {
  const { link, signIn, account } = scene.value;
  if (signIn.is !== "in" || account === "new") return "";
  if (link.is === "stopped") return link.why === "gone" ? t.value.accountGone : t.value.elsewhere;
  lost = link.is === "waiting" || (lost && link.is === "connecting");
  return lost ? t.value.notConnected : "";
}

addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
  // This key belongs to the input method, which is composing a letter.
  if (event.isComposing) return;
  if (event.key === "/" && !typing && entryFor() === null) {
    event.preventDefault();
    go("search");
  }
  // An open dialog handles Escape itself.
  if (event.key === "Escape" && !event.defaultPrevented && document.querySelector("dialog[open]") === null && document.querySelector(".screen")) {
    event.preventDefault();
    back();
  }
});

const root = document.getElementById("root");
if (root) render(<App />, root);
void start().then(takeReturn);
