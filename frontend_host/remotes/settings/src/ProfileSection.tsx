import { Button, Card, ErrorNotice, Field, formatDateTime, Select, TextInput, useAction, useMfe } from "@portal/ui";
import { useState } from "react";

const LOCALES = [
  ["en", "English"],
  ["en-GB", "English (United Kingdom)"],
  ["en-US", "English (United States)"],
  ["de", "German"],
  ["fr", "French"],
  ["es", "Spanish"],
  ["it", "Italian"],
  ["nl", "Dutch"],
  ["pl", "Polish"],
  ["pt", "Portuguese"],
  ["sv", "Swedish"],
] as const;

export function ProfileSection() {
  const { api, user, notify, updateUser } = useMfe();
  const [draft, setDraft] = useState({
    name: user.name,
    timezone: user.timezone,
    locale: user.locale,
    theme: user.theme,
  });
  const save = useAction();
  // Zones keep changing; the browser's list is as new as the browser. The stored one is offered even if it is not in it.
  const zones = [...new Set([user.timezone, "UTC", ...Intl.supportedValuesOf("timeZone")])].sort();
  const locales = LOCALES.some(([value]) => value === user.locale)
    ? LOCALES
    : [[user.locale, user.locale] as const, ...LOCALES];
  const submit = async () => {
    const me = await save.run(() => api.me.update(draft));
    if (!me) return;
    updateUser(me.user);
    notify({ tone: "ok", title: "Saved." });
  };
  return (
    <Card>
      <form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <Field label="E-mail" hint="You sign in with it; it cannot be changed here.">
          {(ids) => <TextInput {...ids} value={user.email} disabled onChange={() => {}} />}
        </Field>
        <Field label="Name">
          {(ids) => (
            <TextInput
              {...ids}
              autoComplete="name"
              maxLength={120}
              value={draft.name}
              onChange={(name) => setDraft({ ...draft, name })}
            />
          )}
        </Field>
        <Field
          label="Time zone"
          hint={`Now: ${formatDateTime(new Date().toISOString(), draft.locale || "en", draft.timezone)}`}
        >
          {(ids) => (
            <Select
              {...ids}
              value={draft.timezone}
              onChange={(timezone) => setDraft({ ...draft, timezone })}
              options={zones.map((zone) => ({ value: zone, label: zone.replaceAll("_", " ") }))}
            />
          )}
        </Field>
        <Field
          label="Numbers and dates"
          hint={`${new Intl.NumberFormat(draft.locale || "en", { minimumFractionDigits: 2 }).format(1234567.89)}`}
        >
          {(ids) => (
            <Select
              {...ids}
              value={draft.locale}
              onChange={(locale) => setDraft({ ...draft, locale })}
              options={locales.map(([value, label]) => ({ value, label }))}
            />
          )}
        </Field>
        <Field label="Theme">
          {(ids) => (
            <Select
              {...ids}
              value={draft.theme}
              onChange={(theme) => setDraft({ ...draft, theme: theme as typeof draft.theme })}
              options={[
                { value: "system", label: "As the system" },
                { value: "light", label: "Light" },
                { value: "dark", label: "Dark" },
              ]}
            />
          )}
        </Field>
        <ErrorNotice error={save.error} />
        <div className="row">
          <Button type="submit" tone="primary" busy={save.busy}>
            Save
          </Button>
        </div>
      </form>
    </Card>
  );
}
