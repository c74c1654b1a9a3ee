import type { components } from "./generated";
import type * as T from "./types";

/**
 * Compile-time check that the API still documents every field the pages need. A renamed or removed field fails
 * `npm run typecheck` after `npm run generate:api`.
 */
type Documented = components["schemas"];
/** True when every required field of the page's type is a documented field of the server's. */
type Fits<Server, Page> =
  { [K in keyof Page as K extends keyof Server ? never : undefined extends Page[K] ? never : K]: K } extends Record<
    string,
    never
  >
    ? true
    : { missing: Exclude<keyof Page, keyof Server> };

/** True when both name the same values. */
type Same<Server, Page> = [Server, Page] extends [Page, Server] ? true : { server: Server; page: Page };

export const conforms: {
  connection: Fits<Documented["Connection"], T.Connection>;
  circuit: Fits<Documented["Circuit"], T.Circuit>;
  connector: Fits<Documented["Connector"], Omit<T.Connector, "authentication">>;
  entitySchema: Fits<Documented["EntitySchema"], T.EntitySchema>;
  flow: Fits<Documented["Flow"], T.Flow>;
  run: Fits<Documented["Run"], T.Run>;
  row: Fits<Documented["QuarantinedRow"], T.QuarantinedRow>;
  reconciliation: Fits<Documented["Reconciliation"], T.Reconciliation>;
  member: Fits<Documented["Member"], T.Member>;
  role: Fits<Documented["Role"], T.Role>;
  apiKey: Fits<Documented["ApiKey"], T.ApiKey>;
  invitation: Fits<Documented["Invitation"], T.Invitation>;
  me: Fits<Documented["Me"], T.Me>;
  overview: Fits<Documented["Overview"], T.Overview>;
  recentRun: Fits<Documented["RecentRun"], T.RecentRun>;
  failingConnection: Fits<Documented["FailingConnection"], T.FailingConnection>;
  runStatus: Same<Documented["RunStatusEnum"], T.RunStatus>;
  runKind: Same<Documented["RunKindEnum"], T.Run["kind"]>;
  stepStatus: Same<Documented["StepStatusEnum"], T.StepStatus>;
  stage: Fits<Documented["Stage"], T.Stage>;
  sla: Fits<Documented["Sla"], T.Sla>;
  trigger: Fits<Documented["Trigger"], T.Trigger>;
  firing: Fits<Documented["Firing"], T.Firing>;
  triggerCheck: Fits<Documented["TriggerCheck"], T.TriggerCheck>;
  effect: Fits<Documented["Effect"], T.Effect>;
  effectOutcome: Same<Documented["Effect"]["outcome"], T.EffectOutcome>;
  restartPreview: Fits<Documented["RestartPreview"], T.RestartPreview>;
  control: Fits<Documented["Control"], T.Control>;
  preview: Fits<Documented["Preview"], T.Preview>;
  version: Fits<Documented["VersionSummary"], T.FlowVersion>;
  capture: Fits<Documented["Capture"], T.Capture>;
  consumer: Fits<Documented["Consumer"], T.Consumer>;
  deadLetter: Fits<Documented["DeadLetterDetail"], T.DeadLetterDetail>;
} = {
  connection: true,
  circuit: true,
  connector: true,
  entitySchema: true,
  flow: true,
  run: true,
  row: true,
  reconciliation: true,
  member: true,
  role: true,
  apiKey: true,
  invitation: true,
  me: true,
  overview: true,
  recentRun: true,
  failingConnection: true,
  runStatus: true,
  runKind: true,
  stepStatus: true,
  stage: true,
  sla: true,
  trigger: true,
  firing: true,
  triggerCheck: true,
  effect: true,
  effectOutcome: true,
  restartPreview: true,
  control: true,
  preview: true,
  version: true,
  capture: true,
  consumer: true,
  deadLetter: true,
};
