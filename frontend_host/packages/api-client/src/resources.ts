import type { CallOptions, Http, Page, Query, UploadOptions } from "./http";
import type * as T from "./types";

const enc = encodeURIComponent;

/** Every call of REST v2 the pages make, by resource. */
export function createResources(http: Http) {
  return {
    me: {
      get: (call?: CallOptions) => http.get<T.Me>("/me", {}, call),
      update: (body: Partial<T.Me["user"]>) => http.patch<T.Me>("/me", body),
    },
    overview: (call?: CallOptions) => http.get<T.Overview>("/overview", {}, call),
    connectors: (call?: CallOptions) => http.get<Page<T.Connector>>("/connectors", {}, call),
    connections: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Connection>>("/connections", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.Connection>(`/connections/${enc(id)}`, {}, call),
      create: (body: T.ConnectionInput) => http.post<T.Connection>("/connections", body),
      update: (id: string, body: T.ConnectionInput) => http.patch<T.Connection>(`/connections/${enc(id)}`, body),
      archive: (id: string) => http.delete(`/connections/${enc(id)}`),
      restore: (id: string) => http.post<T.Connection>(`/connections/${enc(id)}/restore`),
      check: (id: string, call?: CallOptions) => http.post<T.CheckResult>(`/connections/${enc(id)}/check`, {}, call),
      updateCircuit: (id: string, body: T.CircuitChange) =>
        http.patch<T.Connection>(`/connections/${enc(id)}/circuit`, body),
      resetCircuit: (id: string) => http.post<T.Connection>(`/connections/${enc(id)}/circuit/reset`),
      checkDraft: (body: T.ConnectionInput & { connection?: string }, call?: CallOptions) =>
        http.post<T.CheckResult>("/connections/check", body, call),
      entities: (id: string, query: Query, call?: CallOptions) =>
        http.get<Page<T.EntityRef>>(`/connections/${enc(id)}/entities`, query, call),
      entity: (id: string, name: string, call?: CallOptions) =>
        http.get<T.EntitySchema>(`/connections/${enc(id)}/entity`, { name }, call),
      sample: (id: string, entity: string, limit: number, call?: CallOptions) =>
        http.get<T.Sample>(`/connections/${enc(id)}/sample`, { entity, limit }, call),
      upload: (id: string, file: File, options: UploadOptions) =>
        http.upload<T.Upload>(`/connections/${enc(id)}/uploads`, file, options),
      uploads: (id: string, query: Query, call?: CallOptions) =>
        http.get<Page<T.Upload>>(`/connections/${enc(id)}/uploads`, query, call),
    },
    flows: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Flow>>("/flows", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.Flow>(`/flows/${enc(id)}`, {}, call),
      create: (body: { name: string; description?: string; draft: unknown }) => http.post<T.Flow>("/flows", body),
      update: (
        id: string,
        body: { name?: string; description?: string; draft?: unknown; expected_revision?: number },
        call?: CallOptions,
      ) => http.patch<T.Flow>(`/flows/${enc(id)}`, body, call),
      archive: (id: string) => http.delete(`/flows/${enc(id)}`),
      restore: (id: string) => http.post<T.Flow>(`/flows/${enc(id)}/restore`),
      pause: (id: string, reason: string) => http.post<T.Flow>(`/flows/${enc(id)}/pause`, { reason }),
      resume: (id: string) => http.post<T.Flow>(`/flows/${enc(id)}/resume`),
      validate: (id: string, definition: unknown, call?: CallOptions) =>
        http.post<T.Validation>(`/flows/${enc(id)}/validate`, { definition }, call),
      preview: (id: string, definition: unknown, limit: number, call?: CallOptions) =>
        http.post<T.Preview>(`/flows/${enc(id)}/preview`, { definition, limit }, call),
      suggest: (id: string, body: Record<string, unknown>, call?: CallOptions) =>
        http.post<T.Suggestions>(`/flows/${enc(id)}/suggest`, body, call),
      publish: (id: string, note: string) => http.post<T.FlowVersion>(`/flows/${enc(id)}/publish`, { note }),
      versions: (id: string, query: Query = {}, call?: CallOptions) =>
        http.get<Page<T.FlowVersion>>(`/flows/${enc(id)}/versions`, query, call),
      version: (id: string, number: number, call?: CallOptions) =>
        http.get<T.FlowVersion>(`/flows/${enc(id)}/versions/${number}`, {}, call),
      deploy: (id: string, environment: string, version: number) =>
        http.post<T.Deployment>(`/flows/${enc(id)}/deploy`, { environment, version }),
      deployments: (id: string, call?: CallOptions) =>
        http.get<Page<T.Deployment>>(`/flows/${enc(id)}/deployments`, {}, call),
      run: (id: string, body: Record<string, unknown>) => http.post<T.Run>(`/flows/${enc(id)}/runs`, body),
    },
    slas: {
      list: (flow: string, call?: CallOptions) => http.get<Page<T.Sla>>(`/flows/${enc(flow)}/slas`, {}, call),
      save: (flow: string, environment: string, body: Omit<T.Sla, "environment">) =>
        http.put<T.Sla>(`/flows/${enc(flow)}/slas/${enc(environment)}`, body),
      remove: (flow: string, environment: string) => http.delete(`/flows/${enc(flow)}/slas/${enc(environment)}`),
    },
    expressions: {
      check: (
        body: { expression: string; schema: T.Column[]; mapped?: T.Column[]; target_type?: string },
        call?: CallOptions,
      ) => http.post<T.ExpressionCheck>("/expressions/check", body, call),
      functions: (call?: CallOptions) =>
        http.get<{ results: T.ExpressionFunction[] }>("/expressions/functions", {}, call),
    },
    environments: {
      list: (call?: CallOptions) => http.get<Page<T.Environment>>("/environments", {}, call),
      update: (slug: string, body: Partial<T.Environment>) =>
        http.patch<T.Environment>(`/environments/${enc(slug)}`, body),
      bindings: (slug: string, call?: CallOptions) =>
        http.get<Record<string, string | null>>(`/environments/${enc(slug)}/bindings`, {}, call),
      setBindings: (slug: string, body: Record<string, string | null>) =>
        http.put<Record<string, string | null>>(`/environments/${enc(slug)}/bindings`, body),
      variables: (slug: string, call?: CallOptions) =>
        http.get<T.Variables>(`/environments/${enc(slug)}/variables`, {}, call),
      setVariables: (slug: string, body: T.Variables) =>
        http.put<T.Variables>(`/environments/${enc(slug)}/variables`, body),
    },
    runs: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Run>>("/runs", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.Run>(`/runs/${enc(id)}`, {}, call),
      log: (id: string, after: number, limit: number, call?: CallOptions) =>
        http.get<{ results: T.LogLine[]; next_after: number | null }>(`/runs/${enc(id)}/log`, { after, limit }, call),
      step: (id: string, step: string, call?: CallOptions) =>
        http.get<T.StepDetail>(`/runs/${enc(id)}/steps/${enc(step)}`, {}, call),
      attempts: (id: string, path: string, call?: CallOptions) =>
        http.get<Page<T.StepAttempt>>(`/runs/${enc(id)}/steps`, { path }, call),
      cancel: (id: string) => http.post<T.Run>(`/runs/${enc(id)}/cancel`),
      resume: (id: string) => http.post<T.Run>(`/runs/${enc(id)}/resume`),
      retry: (id: string) => http.post<T.Run>(`/runs/${enc(id)}/retry`),
      compensate: (id: string) => http.post<T.Run>(`/runs/${enc(id)}/compensate`),
      effects: (id: string, query: Query, call?: CallOptions) =>
        http.get<Page<T.Effect>>(`/runs/${enc(id)}/effects`, query, call),
      decide: (id: string, effect: string, decision: T.EffectDecision, note: string) =>
        http.post<T.Effect>(`/runs/${enc(id)}/effects/${enc(effect)}/decide`, { decision, note }),
      previewRestart: (id: string, body: T.RestartRequest, call?: CallOptions) =>
        http.post<T.RestartPreview>(`/runs/${enc(id)}/restart/preview`, body, call),
      restart: (id: string, body: T.RestartRequest & { preview: string; again: string[] }) =>
        http.post<T.Run>(`/runs/${enc(id)}/restart`, body),
    },
    tasks: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.HumanTask>>("/tasks", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.HumanTaskDetail>(`/tasks/${enc(id)}`, {}, call),
      claim: (id: string) => http.post<T.HumanTaskDetail>(`/tasks/${enc(id)}/claim`),
      release: (id: string) => http.post<T.HumanTaskDetail>(`/tasks/${enc(id)}/release`),
      answer: (id: string, answer: unknown) => http.post<T.HumanTaskDetail>(`/tasks/${enc(id)}/answer`, { answer }),
      delegate: (id: string, to: string) => http.post<T.HumanTaskDetail>(`/tasks/${enc(id)}/delegate`, { to }),
    },
    triggers: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Trigger>>("/triggers", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.Trigger>(`/triggers/${enc(id)}`, {}, call),
      create: (body: T.TriggerInput) => http.post<T.Trigger>("/triggers", body),
      update: (id: string, body: T.TriggerSettings) => http.patch<T.Trigger>(`/triggers/${enc(id)}`, body),
      remove: (id: string) => http.delete(`/triggers/${enc(id)}`),
      pause: (id: string, reason: string) => http.post<T.Trigger>(`/triggers/${enc(id)}/pause`, { reason }),
      resume: (id: string) => http.post<T.Trigger>(`/triggers/${enc(id)}/resume`),
      check: (body: T.TriggerSettings & { kind: T.TriggerKind; environment?: string }, call?: CallOptions) =>
        http.post<T.TriggerCheck>("/triggers/check", body, call),
      next: (id: string, count: number, call?: CallOptions) =>
        http.get<{ description: string; moments: string[] }>(`/triggers/${enc(id)}/next`, { count }, call),
      firings: (id: string, query: Query, call?: CallOptions) =>
        http.get<Page<T.Firing>>(`/triggers/${enc(id)}/firings`, query, call),
    },
    calendars: (call?: CallOptions) => http.get<Page<T.Calendar>>("/calendars", { limit: 200 }, call),
    quarantine: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.QuarantinedRow>>("/quarantine", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.QuarantinedRow>(`/quarantine/${enc(id)}`, {}, call),
      correct: (id: string, corrected: T.Row, note: string) =>
        http.patch<T.QuarantinedRow>(`/quarantine/${enc(id)}`, { corrected, note }),
      replay: (body: { ids?: string[]; run?: string; flow?: string }) => http.post<T.Run>("/quarantine/replay", body),
      discard: (ids: string[], reason: string) =>
        http.post<{ discarded: number }>("/quarantine/discard", { ids, reason }),
      summary: (query: Query, call?: CallOptions) => http.get<T.QuarantineSummary>("/quarantine/summary", query, call),
    },
    reconciliations: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Reconciliation>>("/reconciliations", query, call),
      sign: (id: string, comment: string) =>
        http.post<T.Reconciliation>(`/reconciliations/${enc(id)}/sign`, { comment }),
    },
    members: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Member>>("/members", query, call),
      update: (id: string, body: { roles?: string[]; is_active?: boolean }) =>
        http.patch<T.Member>(`/members/${enc(id)}`, body),
      remove: (id: string) => http.delete(`/members/${enc(id)}`),
    },
    roles: {
      list: (call?: CallOptions) => http.get<Page<T.Role>>("/roles", { limit: 200 }, call),
      create: (body: { name: string; slug?: string; description?: string; permissions: string[] }) =>
        http.post<T.Role>("/roles", body),
      update: (slug: string, body: { name?: string; permissions?: string[] }) =>
        http.patch<T.Role>(`/roles/${enc(slug)}`, body),
      remove: (slug: string) => http.delete(`/roles/${enc(slug)}`),
    },
    permissions: (call?: CallOptions) => http.get<Page<T.Permission>>("/permissions", {}, call),
    invitations: {
      list: (call?: CallOptions) => http.get<Page<T.Invitation>>("/invitations", { limit: 200 }, call),
      create: (body: { email: string; roles: string[] }) => http.post<T.Invitation>("/invitations", body),
      remove: (id: string) => http.delete(`/invitations/${enc(id)}`),
      resend: (id: string) => http.post<unknown>(`/invitations/${enc(id)}/resend`),
    },
    apiKeys: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.ApiKey>>("/api-keys", query, call),
      create: (body: { name: string; scopes: string[]; expires_at: string | null }) =>
        http.post<T.ApiKey>("/api-keys", body),
      revoke: (id: string) => http.delete(`/api-keys/${enc(id)}`),
    },
    eventContracts: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.EventContract>>("/event-contracts", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.EventContract>(`/event-contracts/${enc(id)}`, {}, call),
      create: (body: { type: string; description: string; compatibility: string; schema: unknown }) =>
        http.post<T.EventContract>("/event-contracts", body),
      check: (id: string, schema: unknown) =>
        http.post<T.ContractCheck>(`/event-contracts/${enc(id)}/check`, { schema }),
      versions: (id: string, query: Query, call?: CallOptions) =>
        http.get<Page<T.EventContractVersion>>(`/event-contracts/${enc(id)}/versions`, query, call),
      publish: (id: string, body: { schema: unknown; note: string; accept_breaking: boolean }) =>
        http.post<T.EventContractVersion>(`/event-contracts/${enc(id)}/versions`, body),
    },
    events: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.CloudEvent>>("/events", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.CloudEvent>(`/events/${enc(id)}`, {}, call),
      types: (call?: CallOptions) => http.get<Page<T.EventType>>("/event-types", {}, call),
    },
    subscriptions: {
      list: (query: Query, call?: CallOptions) =>
        http.get<Page<T.EventSubscription>>("/event-subscriptions", query, call),
      get: (id: string, call?: CallOptions) =>
        http.get<T.EventSubscription>(`/event-subscriptions/${enc(id)}`, {}, call),
      create: (body: T.EventSubscriptionInput) =>
        http.post<T.WithSecret<T.EventSubscription>>("/event-subscriptions", body),
      update: (id: string, body: Partial<T.EventSubscriptionInput>) =>
        http.patch<T.EventSubscription>(`/event-subscriptions/${enc(id)}`, body),
      archive: (id: string) => http.delete(`/event-subscriptions/${enc(id)}`),
      pause: (id: string, reason: string) =>
        http.post<T.EventSubscription>(`/event-subscriptions/${enc(id)}/pause`, { reason }),
      resume: (id: string) => http.post<T.EventSubscription>(`/event-subscriptions/${enc(id)}/resume`),
      rotate: (id: string, overlap_s: number) =>
        http.post<T.WithSecret<T.EventSubscription>>(`/event-subscriptions/${enc(id)}/rotate-secret`, { overlap_s }),
      test: (id: string) => http.post<{ event: string }>(`/event-subscriptions/${enc(id)}/test`),
      redrive: (id: string, ids?: string[]) =>
        http.post<{ count: number }>(`/event-subscriptions/${enc(id)}/redrive`, ids ? { ids } : {}),
      discard: (id: string, ids: string[], reason: string) =>
        http.post<{ count: number }>(`/event-subscriptions/${enc(id)}/discard`, { ids, reason }),
      previewReplay: (id: string, range: T.ReplayRange) =>
        http.post<T.ReplayPreview>(`/event-subscriptions/${enc(id)}/replay-preview`, range),
      replay: (id: string, range: T.ReplayRange, expected_count: number) =>
        http.post<{ id: string; count: number }>(`/event-subscriptions/${enc(id)}/replay`, {
          ...range,
          expected_count,
        }),
    },
    deliveries: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.EventDelivery>>("/event-deliveries", query, call),
      get: (id: string, call?: CallOptions) =>
        http.get<T.EventDeliveryDetail>(`/event-deliveries/${enc(id)}`, {}, call),
      redeliver: (id: string) => http.post<T.EventDeliveryDetail>(`/event-deliveries/${enc(id)}/redeliver`),
    },
    webhookEndpoints: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.WebhookEndpoint>>("/webhook-endpoints", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.WebhookEndpoint>(`/webhook-endpoints/${enc(id)}`, {}, call),
      create: (body: T.WebhookEndpointInput) => http.post<T.WithSecret<T.WebhookEndpoint>>("/webhook-endpoints", body),
      update: (id: string, body: { status?: string; rate_per_s?: number | null; burst?: number | null }) =>
        http.patch<T.WebhookEndpoint>(`/webhook-endpoints/${enc(id)}`, body),
      rotate: (id: string, body: { overlap_s: number; secret?: string }) =>
        http.post<T.WithSecret<T.WebhookEndpoint>>(`/webhook-endpoints/${enc(id)}/rotate-secret`, body),
      archive: (id: string) => http.delete(`/webhook-endpoints/${enc(id)}`),
      messages: (query: Query, call?: CallOptions) =>
        http.get<Page<T.WebhookMessage>>("/webhook-messages", query, call),
      message: (id: string, call?: CallOptions) =>
        http.get<T.WebhookMessageDetail>(`/webhook-messages/${enc(id)}`, {}, call),
    },
    captures: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Capture>>("/captures", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.Capture>(`/captures/${enc(id)}`, {}, call),
      create: (body: T.CaptureInput) => http.post<T.Capture>("/captures", body),
      pause: (id: string) => http.post<T.Capture>(`/captures/${enc(id)}/pause`),
      resume: (id: string) => http.post<T.Capture>(`/captures/${enc(id)}/resume`),
      restart: (id: string) => http.post<T.Capture>(`/captures/${enc(id)}/restart`),
      measure: (id: string) => http.post<T.Capture>(`/captures/${enc(id)}/measure`),
      remove: (id: string, force: boolean) => http.delete(`/captures/${enc(id)}${force ? "?force=true" : ""}`),
    },
    consumers: {
      list: (query: Query, call?: CallOptions) => http.get<Page<T.Consumer>>("/consumers", query, call),
      get: (id: string, call?: CallOptions) => http.get<T.Consumer>(`/consumers/${enc(id)}`, {}, call),
      create: (body: T.ConsumerInput) => http.post<T.Consumer>("/consumers", body),
      pause: (id: string, reason: string) => http.post<T.Consumer>(`/consumers/${enc(id)}/pause`, { reason }),
      resume: (id: string) => http.post<T.Consumer>(`/consumers/${enc(id)}/resume`),
      delete: (id: string) => http.delete(`/consumers/${enc(id)}`),
      letters: (id: string, query: Query, call?: CallOptions) =>
        http.get<Page<T.DeadLetter>>(`/consumers/${enc(id)}/dead-letters`, query, call),
      redeliverAll: (id: string) => http.post<{ redelivered: number; dead: number }>(`/consumers/${enc(id)}/redeliver`),
    },
    deadLetters: {
      get: (id: string, call?: CallOptions) => http.get<T.DeadLetterDetail>(`/dead-letters/${enc(id)}`, {}, call),
      redeliver: (id: string) => http.post<T.DeadLetter>(`/dead-letters/${enc(id)}/redeliver`),
      discard: (id: string) => http.post<T.DeadLetter>(`/dead-letters/${enc(id)}/discard`),
    },
    audit: (query: Query, call?: CallOptions) => http.get<Page<T.AuditEntry>>("/audit", query, call),
  };
}
