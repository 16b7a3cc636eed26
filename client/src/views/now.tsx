/** What friends see of the person now, as the live channel says, and the switches for it. */

import { useSignal } from "@preact/signals";

import { clock } from "../i18n/times";
import { type Front, agreed, isPaused } from "../scene";
import { alive, ask, scene, t } from "./port";
import { Age, Avatar, Button, Icon, PageLine, Question, Sheet, Switch, stateOf } from "./parts";
import { account, attempt, go, now } from "./state";

export function Now() {
  const { own, asOf, sharing, link } = scene.value;
  const pausing = useSignal(false);
  const person = account.value;
  const connected = alive.value && link.is === "open";
  const paused = isPaused(sharing.pause, now.value);
  const canPause = agreed(sharing.consent) === "share" && sharing.permitted;
  return (
    <section class="card now" aria-labelledby="now">
      <div class="eyebrow">
        <h2 id="now">{t.value.friendsSeeNow}</h2>
        {!connected && asOf !== null && <span>{t.value.asOf(clock(asOf, t.value.tag))}</span>}
        {canPause && !paused && (
          <Button kind="quiet" small onClick={() => (pausing.value = true)}>
            {t.value.pause}
          </Button>
        )}
      </div>
      <div class="me">
        {person && <Avatar person={person} state={connected && own && !paused ? stateOf(own) : "offline"} />}
        <div class="text" data-testid="own">
          <Line connected={connected} paused={paused} />
        </div>
        {paused && (
          <Button onClick={() => void attempt(ask("pause", { until: null }))}>{t.value.resume}</Button>
        )}
      </div>
      {sharing.front && !paused && agreed(sharing.consent) === "share" && <Site front={sharing.front} />}
      {SITE.surface !== "page" && <Choice />}
      {pausing.value && <Pausing onClose={() => (pausing.value = false)} />}
    </section>
  );
}

/** One line that says what friends see, and one that says why. */
function Line({ connected, paused }: { connected: boolean; paused: boolean }) {
  const { own, sharing, friends, known, link } = scene.value;
  if (!connected) {
    const connecting = link.is === "connecting" || !alive.value;
    return <Two first={connecting ? t.value.connecting : t.value.notConnected} second={t.value.friendsSeeOffline} />;
  }
  if (own === null) return <Two first={t.value.connecting} />;
  if (own.page === null) return <Two first={t.value.invisible} second={t.value.looksOffline} />;
  if (own.page.url !== "") {
    const alone = known && Object.keys(friends).length === 0;
    return (
      <>
        <PageLine page={own.page} />
        <div class="note">{paused ? t.value.sendsNoPages : alone ? t.value.nobodyYet : <Since at={own.at} />}</div>
      </>
    );
  }
  if (paused) {
    const until = typeof sharing.pause === "number" ? t.value.pausedUntil(clock(sharing.pause, t.value.tag)) : t.value.pausedUntilResumed;
    return <Two first={t.value.paused} aside={until} second={t.value.sendsNoPages} />;
  }
  return <Two first={t.value.onlineHidden} aside={t.value.pageHidden} second={whyHidden(sharing.front)} />;
}

function whyHidden(front: Front | null): string | undefined {
  if (SITE.surface === "page") return t.value.pageSendsNothing;
  const { consent, permitted } = scene.value.sharing;
  if (agreed(consent) !== "share") return t.value.onlyWatching;
  if (!permitted) return t.value.notPermitted;
  return front && !front.shown ? t.value.siteNotShared(front.site) : undefined;
}

function Two({ first, aside, second }: { first: string; aside?: string; second?: string | undefined }) {
  return (
    <>
      <div class="page">
        <b>{first}</b>
        {aside && <span class="title">· {aside}</span>}
      </div>
      {second && <div class="note">{second}</div>}
    </>
  );
}

function Since({ at }: { at: string | null }) {
  return at === null ? null : <Age since={at} />;
}

/** The switch for the site in front. The server's warning is shown before a site is shared that may show private things. */
function Site({ front }: { front: Front }) {
  const warning = useSignal<string | null>(null);
  const share = (shared: boolean) => void attempt(ask("share-site", { site: front.site, shared }));
  return (
    <>
      <Switch
        label={<bdi>{t.value.shareAllOf(front.site)}</bdi>}
        on={front.shown}
        onChange={async (on) => {
          if (!on) return share(false);
          const warnings = await ask("warnings", {}).catch(() => ({}) as Record<string, string>);
          const sentence = warnings[front.site];
          if (sentence === undefined) share(true);
          else warning.value = sentence;
        }}
      />
      <div class="row-buttons">
        <Button kind="quiet" small onClick={() => go("share")}>
          <Icon name="send" />
          {t.value.shareThisPage}
        </Button>
      </div>
      {warning.value !== null && (
        <Question
          title={t.value.warningTitle(front.site)}
          text={warning.value}
          yes={t.value.shareAnyway}
          onYes={() => {
            warning.value = null;
            share(true);
          }}
          onClose={() => (warning.value = null)}
        />
      )}
    </>
  );
}

/** Offers sharing to a person who shares nothing and only sees friends. */
function Choice() {
  const { consent, permitted } = scene.value.sharing;
  if (agreed(consent) === "share" && permitted) return null;
  return (
    <div class="row-buttons">
      <a class="button quiet small" href="tab.html#/welcome" target="_blank">
        {t.value.startSharing}
      </a>
    </div>
  );
}

function Pausing({ onClose }: { onClose: () => void }) {
  const pause = (until: number | "resumed") => {
    onClose();
    void attempt(ask("pause", { until }));
  };
  return (
    <Sheet title={t.value.pauseTitle} onClose={onClose}>
      <div class="menu">
        <Button onClick={() => pause(Date.now() + 30 * 60_000)}>{t.value.pauseHalfHour}</Button>
        <Button onClick={() => pause(Date.now() + 60 * 60_000)}>{t.value.pauseHour}</Button>
        <Button onClick={() => pause("resumed")}>{t.value.pauseUntilResumed}</Button>
      </div>
    </Sheet>
  );
}
