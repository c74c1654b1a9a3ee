import type { Invitation, Member, Role } from "@portal/api-client";
import {
  Button,
  Card,
  Checkbox,
  type Column,
  DataTable,
  Dialog,
  Empty,
  ErrorNotice,
  Field,
  Menu,
  PagedTable,
  ResourceView,
  SearchInput,
  TextInput,
  Time,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  usePages,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { RoleChoice } from "./RoleChoice";

export function MembersSection() {
  const { api, user } = useMfe();
  const mayManage = useCan("member:manage");
  const [search, setSearch] = useState("");
  const [inviting, setInviting] = useState(false);
  const [editing, setEditing] = useState<Member | null>(null);
  const members = usePages(search, (cursor, call) => api.members.list({ search, cursor, limit: 25 }, call));
  const roles = useResource("roles", api.roles.list);
  const invitations = useResource("invitations", api.invitations.list, { enabled: mayManage });
  const names = new Map(roles.data?.results.map((role) => [role.slug, role.name]));
  const columns: Column<Member>[] = [
    {
      key: "name",
      title: "Name",
      lead: true,
      render: (member) => (
        <>
          {member.name || member.email}
          {member.id === user.id && <span className="muted"> (you)</span>}
        </>
      ),
    },
    { key: "email", title: "E-mail", render: (member) => member.email },
    {
      key: "roles",
      title: "Roles",
      render: (member) => (
        <span className="roles">
          {member.roles.map((slug) => (
            <span key={slug} className="badge plain">
              {names.get(slug) ?? slug}
            </span>
          ))}
        </span>
      ),
    },
    {
      key: "mfa",
      title: "Two-factor",
      render: (member) =>
        member.mfa_enabled ? <span className="badge ok">On</span> : <span className="muted">Off</span>,
    },
    {
      key: "active",
      title: "State",
      render: (member) => (member.is_active ? "Active" : <span className="badge">Locked</span>),
    },
    {
      key: "seen",
      title: "Last sign-in",
      align: "end",
      render: (member) => <Time value={member.last_login} relative />,
    },
  ];
  return (
    <>
      <div className="toolbar">
        <SearchInput value={search} onChange={setSearch} label="Search members" />
        {mayManage && (
          <span className="push">
            <Button tone="primary" icon="plus" onClick={() => setInviting(true)}>
              Invite
            </Button>
          </span>
        )}
      </div>
      <PagedTable
        resource={members}
        label="Members"
        columns={columns}
        rowKey={(member) => member.id}
        onOpen={mayManage ? setEditing : undefined}
        empty={<Empty icon="user" title="Nobody matches" />}
      />
      {mayManage && (
        <Card title="Invitations" flush>
          <ResourceView resource={invitations}>
            {({ results }) => (
              <InvitationList
                invitations={results.filter((one) => one.status === "open" || one.status === "expired")}
                onChanged={invitations.reload}
              />
            )}
          </ResourceView>
        </Card>
      )}
      {inviting && roles.data && (
        <InviteDialog
          roles={roles.data.results}
          onClose={() => setInviting(false)}
          onDone={() => {
            setInviting(false);
            invitations.reload();
          }}
        />
      )}
      {editing && roles.data && (
        <MemberDialog
          member={editing}
          roles={roles.data.results}
          onClose={() => setEditing(null)}
          onDone={() => {
            setEditing(null);
            members.reload();
          }}
        />
      )}
    </>
  );
}

function InvitationList({ invitations, onChanged }: { invitations: Invitation[]; onChanged: () => void }) {
  const { api, notify } = useMfe();
  const action = useAction({ toast: true });
  const confirm = useConfirm();
  if (!invitations.length)
    return (
      <Empty icon="inbox" title="No open invitation">
        Invited people set their own password.
      </Empty>
    );
  const columns: Column<Invitation>[] = [
    { key: "email", title: "E-mail", lead: true, render: (one) => one.email },
    { key: "roles", title: "Roles", render: (one) => one.roles.join(", ") },
    { key: "by", title: "By", render: (one) => one.invited_by },
    {
      key: "until",
      title: "Until",
      align: "end",
      render: (one) =>
        one.status === "expired" ? <span className="badge bad">Expired</span> : <Time value={one.expires_at} />,
    },
    {
      key: "menu",
      title: "",
      align: "end",
      render: (one) => (
        <Menu
          label={`Actions for ${one.email}`}
          small
          items={[
            {
              label: "Send again",
              icon: "refresh",
              run: async () => {
                if ((await action.run(() => api.invitations.resend(one.id))) === undefined) return;
                notify({ tone: "ok", title: `Sent again to ${one.email}.` });
                onChanged();
              },
            },
            {
              label: "Revoke",
              icon: "trash",
              danger: true,
              run: async () => {
                if (
                  (await confirm({
                    title: `Revoke the invitation of ${one.email}?`,
                    text: "Its link stops working.",
                    action: "Revoke",
                    danger: true,
                  })) === null
                )
                  return;
                await action.run(() => api.invitations.remove(one.id));
                onChanged();
              },
            },
          ]}
        />
      ),
    },
  ];
  return <DataTable label="Invitations" rows={invitations} columns={columns} rowKey={(one) => one.id} />;
}

function InviteDialog({ roles, onClose, onDone }: { roles: Role[]; onClose: () => void; onDone: () => void }) {
  const { api, notify } = useMfe();
  const [email, setEmail] = useState("");
  const [chosen, setChosen] = useState<string[]>(["viewer"]);
  const action = useAction();
  const submit = async () => {
    const made = await action.run(() => api.invitations.create({ email: email.trim(), roles: chosen }));
    if (!made) return;
    notify({ tone: "ok", title: `Invited ${made.email}.` });
    onDone();
  };
  return (
    <Dialog
      title="Invite somebody"
      lead="They get a message with a link that works once."
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy} disabled={!email.includes("@") || !chosen.length}>
            Invite
          </Button>
        </>
      }
    >
      <Field label="E-mail" required>
        {(ids) => <TextInput {...ids} type="email" value={email} onChange={setEmail} />}
      </Field>
      <RoleChoice roles={roles} value={chosen} onChange={setChosen} />
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}

function MemberDialog({
  member,
  roles,
  onClose,
  onDone,
}: {
  member: Member;
  roles: Role[];
  onClose: () => void;
  onDone: () => void;
}) {
  const { api, notify, user } = useMfe();
  const [chosen, setChosen] = useState(member.roles);
  const [active, setActive] = useState(member.is_active);
  const action = useAction();
  const confirm = useConfirm();
  const submit = async () => {
    if (!(await action.run(() => api.members.update(member.id, { roles: chosen, is_active: active })))) return;
    notify({ tone: "ok", title: "Saved." });
    onDone();
  };
  const remove = async () => {
    if (
      (await confirm({
        title: `Remove ${member.name || member.email}?`,
        text: "They are signed out and lose access. What they did stays in the audit log.",
        action: "Remove",
        danger: true,
      })) === null
    )
      return;
    const done = await action.run(async () => {
      await api.members.remove(member.id);
      return true;
    });
    if (done) onDone();
  };
  return (
    <Dialog
      title={member.name || member.email}
      lead={member.email}
      onClose={onClose}
      onSubmit={submit}
      footer={
        <>
          {member.id !== user.id && (
            <Button tone="danger" onClick={remove}>
              Remove
            </Button>
          )}
          <span className="grow" />
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" tone="primary" busy={action.busy}>
            Save
          </Button>
        </>
      }
    >
      <RoleChoice roles={roles} value={chosen} onChange={setChosen} />
      <Checkbox label="May sign in" checked={active} disabled={member.id === user.id} onChange={setActive} />
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}
