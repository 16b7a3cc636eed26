/** The person's profile and account. */

import { useSignal } from "@preact/signals";

import { PROFILE_IMAGE_BYTES_MAX } from "../generated/constants";
import type { UserPrivate, UserUpdate } from "../generated/types";
import { Avatar, Button, Field, Screen, Sheet, Switch } from "./parts";
import { ask, t } from "./port";
import { account, attempt, leave, ownName, say, to } from "./state";

const PICTURES: Readonly<Record<string, string>> = { "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif" };

/** The fields of a profile that can be public or private. */
const FACTS = [
  ["gender", "gender_public"],
  ["school", "school_public"],
  ["work", "work_public"],
  ["location", "location_public"],
] as const;

export function EditProfile() {
  const person = account.value;
  return <Screen title={t.value.editProfile}>{person ? <ProfileForm person={person} /> : t.value.loading}</Screen>;
}

function ProfileForm({ person }: { person: UserPrivate }) {
  const changes = useSignal<Partial<UserUpdate>>({});
  const saving = useSignal(false);
  // A field that the person emptied is null in `changes`, and must stay empty. So `in` is used, not `??`.
  const value = <Name extends keyof UserUpdate & keyof UserPrivate>(name: Name): UserPrivate[Name] =>
    name in changes.value ? (changes.value[name] as UserPrivate[Name]) : person[name];
  const change = (some: Partial<UserUpdate>) => {
    changes.value = { ...changes.value, ...some };
  };
  const text = (name: "first_name" | "last_name" | "gender" | "school" | "work" | "location", label: string, max: number, required = false) => (
    <Field label={label}>
      {(id) => (
        <input id={id} class="input" required={required} maxLength={max} value={value(name) ?? ""} onInput={(event) => change({ [name]: event.currentTarget.value })} />
      )}
    </Field>
  );
  return (
    <>
      <Picture person={person} />
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          saving.value = true;
          if (await attempt(ask("update-account", { changes: changes.value }), t.value.saved)) changes.value = {};
          saving.value = false;
        }}
      >
        {text("first_name", t.value.firstName, 100, true)}
        {text("last_name", t.value.lastName, 100)}
        <Field label={t.value.description}>
          {(id) => (
            <textarea id={id} class="input" rows={3} maxLength={1_000} value={value("description") ?? ""} onInput={(event) => change({ description: event.currentTarget.value })} />
          )}
        </Field>
        <Field label={t.value.birthday}>
          {(id) => <input id={id} class="input" type="date" value={value("dob") ?? ""} onInput={(event) => change({ dob: event.currentTarget.value || null })} />}
        </Field>
        <Switch label={t.value.visibleToAll} on={value("dob_public")} onChange={(on) => change({ dob_public: on })} />
        {FACTS.map(([name, visible]) => (
          <div key={name}>
            {text(name, t.value[name], 1_000)}
            <Switch label={t.value.visibleToAll} on={value(visible)} onChange={(on) => change({ [visible]: on })} />
          </div>
        ))}
        <Switch label={t.value.emailVisible} on={value("email_public")} onChange={(on) => change({ email_public: on })} />
        <div class="buttons sticky">
          <Button type="submit" kind="primary" disabled={saving.value || Object.keys(changes.value).length === 0}>
            {t.value.save}
          </Button>
        </div>
      </form>
    </>
  );
}

function Picture({ person }: { person: UserPrivate }) {
  const busy = useSignal(false);
  const choose = async (file: File | undefined) => {
    if (file === undefined) return;
    const extension = PICTURES[file.type];
    if (extension === undefined || file.size > PROFILE_IMAGE_BYTES_MAX) return say(t.value.pictureBad, true);
    busy.value = true;
    const upload = async () => {
      // Ports of extensions can carry only JSON.
      const picture = SITE.surface === "page" ? file : await dataUrl(file);
      await ask("set-picture", { picture, extension });
    };
    await attempt(upload(), t.value.saved);
    busy.value = false;
  };
  return (
    <div class="profile">
      <Avatar person={person} />
      <label class="button file">
        {busy.value ? t.value.loading : t.value.choosePicture}
        <input
          type="file"
          class="visually-hidden"
          accept={Object.keys(PICTURES).join(",")}
          disabled={busy.value}
          onChange={(event) => {
            void choose(event.currentTarget.files?.[0]);
            event.currentTarget.value = "";
          }}
        />
      </label>
      {person.profile_image_extension !== null && (
        <Button kind="quiet" onClick={() => void attempt(ask("remove-picture", {}), t.value.saved)}>
          {t.value.removePicture}
        </Button>
      )}
    </div>
  );
}

function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

export function Account() {
  const deleting = useSignal(false);
  const typed = useSignal("");
  // Compared as it is drawn: browsers draw several spaces as one.
  const plain = (text: string) => text.trim().replaceAll(/\s+/g, " ");
  const name = plain(ownName.value);
  const download = async () => {
    const text = await ask("export", {});
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "pagenow.json";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <Screen title={t.value.account}>
      <ul class="links">
        <li>
          <a href={to("me", "blocked")}>{t.value.blockedPeople}</a>
        </li>
        <li>
          <button type="button" onClick={() => void attempt(download())}>
            {t.value.exportData}
          </button>
        </li>
        <li>
          <button type="button" onClick={() => void leave(ask("sign-out", {}))}>
            {t.value.signOut}
          </button>
        </li>
        <li>
          <button type="button" class="danger" onClick={() => (deleting.value = true)}>
            {t.value.deleteAccount}
          </button>
        </li>
      </ul>
      {deleting.value && (
        <Sheet title={t.value.deleteTitle} onClose={() => (deleting.value = false)}>
          <p>{t.value.deleteText}</p>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              if (plain(typed.value) === name) void leave(ask("delete-account", {}));
            }}
          >
            <Field label={t.value.deleteConfirm(name)}>
              {(id) => <input id={id} class="input" autocomplete="off" value={typed.value} onInput={(event) => (typed.value = event.currentTarget.value)} />}
            </Field>
            <div class="buttons">
              <Button onClick={() => (deleting.value = false)}>{t.value.cancel}</Button>
              <Button type="submit" kind="danger" disabled={plain(typed.value) !== name}>
                {t.value.deleteForever}
              </Button>
            </div>
          </form>
        </Sheet>
      )}
    </Screen>
  );
}

