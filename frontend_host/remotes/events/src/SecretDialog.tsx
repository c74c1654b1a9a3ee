import { Button, CopyButton, Dialog, Notice } from "@portal/ui";

/** A signing secret, this once. */
export function SecretDialog({ secret, onClose }: { secret: string; onClose: () => void }) {
  return (
    <Dialog
      title="Copy the signing secret now"
      onClose={onClose}
      footer={
        <Button tone="primary" onClick={onClose}>
          I have stored it
        </Button>
      }
    >
      <Notice tone="warn" title="It is shown this once." />
      <div className="the-secret">
        <code className="grow">{secret}</code>
        <CopyButton text={secret} />
      </div>
      <p className="small soft">Signatures follow Standard Webhooks; every library for it takes this secret.</p>
    </Dialog>
  );
}
