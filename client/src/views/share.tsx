/** Sending a page. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";

import { Button, Field, Screen } from "./parts";
import { ask, scene, t } from "./port";
import { attempt, go } from "./state";

/** The form that sends a page to one friend, or to all. */
export function SharePage({ whom }: { whom: string | undefined }) {
  const { sharing, friends } = scene.value;
  /** The text that was typed. Before that, it is the page in front, which the worker may tell only after this is drawn. */
  const typed = useSignal<{ readonly url?: string; readonly title?: string }>({});
  const url = typed.value.url ?? sharing.front?.url ?? "";
  const title = typed.value.title ?? sharing.front?.title ?? "";
  const receiver = useSignal(whom ?? "");
  const sending = useSignal(false);
  /** The idempotency key of the last attempt. If the server took it but the answer was lost, a repetition is not sent twice. */
  const tried = useRef({ what: "", key: "" });
  const hidden = sharing.front !== null && !sharing.front.shown && url === sharing.front.url;
  const people = Object.values(friends).sort((a, b) => a.info.first_name.localeCompare(b.info.first_name, t.value.tag));
  const send = async () => {
    sending.value = true;
    const page = { url: url.trim(), title: title.trim(), to: receiver.value === "" ? null : receiver.value };
    const what = JSON.stringify(page);
    if (what !== tried.current.what) tried.current = { what, key: crypto.randomUUID() };
    const sent = await attempt(ask("share", { ...page, key: tried.current.key }), t.value.sentOff);
    sending.value = false;
    if (sent) go("inbox");
  };
  return (
    <Screen title={t.value.shareTitle}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <Field label={t.value.address}>
          {(id) => (
            <input
              id={id}
              class="input"
              type="url"
              required
              pattern="[hH][tT][tT][pP][sS]?:.*"
              title={t.value.badAddress}
              maxLength={2_048}
              value={url}
              onInput={(event) => {
                typed.value = { title, url: event.currentTarget.value };
              }}
            />
          )}
        </Field>
        <Field label={t.value.title}>
          {(id) => (
            <input
              id={id}
              class="input"
              maxLength={300}
              value={title}
              onInput={(event) => {
                typed.value = { url, title: event.currentTarget.value };
              }}
            />
          )}
        </Field>
        <Field label={t.value.sendTo}>
          {(id) => (
            <select
              id={id}
              class="input"
              value={receiver.value}
              onChange={(event) => {
                receiver.value = event.currentTarget.value;
              }}
            >
              <option value="">{t.value.allFriends}</option>
              {people.map(({ info }) => (
                <option key={info.user_id} value={info.user_id}>
                  {t.value.fullName(info.first_name, info.last_name)}
                </option>
              ))}
            </select>
          )}
        </Field>
        {hidden && <p class="note">{t.value.sendsOnce}</p>}
        <div class="buttons">
          <Button type="submit" kind="primary" disabled={sending.value}>
            {t.value.send}
          </Button>
        </div>
      </form>
    </Screen>
  );
}
