import type { Permission, Role } from "@portal/api-client";
import {
  Button,
  Card,
  type Column,
  DataTable,
  Dialog,
  ErrorNotice,
  Field,
  ResourceView,
  TextInput,
  useAction,
  useCan,
  useConfirm,
  useMfe,
  useResource,
} from "@portal/ui";
import { useState } from "react";
import { PermissionChoice } from "./PermissionChoice";

export function RolesSection() {
  const { api } = useMfe();
  const mayManage = useCan("role:manage");
  const roles = useResource("roles", api.roles.list);
  const permissions = useResource("permissions", api.permissions);
  const [open, setOpen] = useState<Role | "new" | null>(null);
  const columns: Column<Role>[] = [
    { key: "name", title: "Role", lead: true, render: (role) => role.name },
    { key: "description", title: "For", render: (role) => <span className="soft">{role.description}</span> },
    { key: "kind", title: "Kind", render: (role) => (role.builtin ? "Built in" : "Your own") },
    { key: "count", title: "Permissions", align: "end", render: (role) => role.permissions.length },
  ];
  const done = () => {
    setOpen(null);
    roles.reload();
  };
  return (
    <>
      {mayManage && (
        <div className="toolbar">
          <span className="push">
            <Button tone="primary" icon="plus" onClick={() => setOpen("new")}>
              New role
            </Button>
          </span>
        </div>
      )}
      <Card flush>
        <ResourceView resource={roles}>
          {({ results }) => (
            <DataTable label="Roles" rows={results} columns={columns} rowKey={(role) => role.slug} onOpen={setOpen} />
          )}
        </ResourceView>
      </Card>
      {open && permissions.data && (
        <RoleDialog
          role={open === "new" ? null : open}
          editable={mayManage && (open === "new" || !open.builtin)}
          all={permissions.data.results}
          onClose={() => setOpen(null)}
          onDone={done}
        />
      )}
    </>
  );
}

interface RoleDialogProps {
  role: Role | null;
  editable: boolean;
  all: Permission[];
  onClose: () => void;
  onDone: () => void;
}

function RoleDialog({ role, editable, all, onClose, onDone }: RoleDialogProps) {
  const { api } = useMfe();
  const [name, setName] = useState(role?.name ?? "");
  const [description, setDescription] = useState(role?.description ?? "");
  const [chosen, setChosen] = useState<string[]>(role?.permissions ?? []);
  const action = useAction();
  const confirm = useConfirm();
  const submit = async () => {
    const body = { name: name.trim(), description, permissions: chosen };
    if (await action.run(() => (role ? api.roles.update(role.slug, body) : api.roles.create(body)))) onDone();
  };
  const remove = async () => {
    if (
      !role ||
      (await confirm({
        title: `Delete ${role.name}?`,
        text: "Members who have it lose its permissions.",
        action: "Delete",
        danger: true,
      })) === null
    )
      return;
    const done = await action.run(async () => {
      await api.roles.remove(role.slug);
      return true;
    });
    if (done) onDone();
  };
  return (
    <Dialog
      title={role?.name ?? "New role"}
      lead={role?.builtin ? "Built in; make a role of your own to differ from it." : undefined}
      wide
      onClose={onClose}
      onSubmit={editable ? submit : undefined}
      footer={
        editable && (
          <>
            {role && (
              <Button tone="danger" onClick={remove}>
                Delete
              </Button>
            )}
            <span className="grow" />
            <Button onClick={onClose}>Cancel</Button>
            <Button type="submit" tone="primary" busy={action.busy} disabled={!name.trim() || !chosen.length}>
              Save
            </Button>
          </>
        )
      }
    >
      {editable && (
        <>
          <Field label="Name" required>
            {(ids) => <TextInput {...ids} maxLength={80} value={name} onChange={setName} />}
          </Field>
          <Field label="For" required={false}>
            {(ids) => <TextInput {...ids} maxLength={300} value={description} onChange={setDescription} />}
          </Field>
        </>
      )}
      <PermissionChoice all={all} value={chosen} disabled={!editable} onChange={setChosen} />
      <ErrorNotice error={action.error} />
    </Dialog>
  );
}
