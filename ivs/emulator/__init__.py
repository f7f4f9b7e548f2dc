"""An emulated AWS account on loopback: Amazon IVS, IVS Chat and IVS Real-Time, and all that moto offers beside them.

One HTTP endpoint answers every service, so a client needs only `endpoint_url`. Which operations of the three IVS
services are answered is `ivs.emulator.operations.CLAIMED`; SQS, EventBridge, CloudWatch Logs, S3 and the rest are
moto's. Resources of IVS survive a restart when a state file is given; moto's state (queues, rules) does not.

The control door, JSON over HTTP below `/_emulator/`. A refusal is `{"error": sentence}` with its HTTP status.

| request | body, * is required | does |
| --- | --- | --- |
| GET health | | `{"status": "ok"}` |
| POST reset | | forgets everything: moto's state, faults, calls and settings too |
| GET calls | `?service=&operation=` | `{"calls": [{service, operation, at, params, status, error}]}` |
| POST calls/clear | | forgets the calls |
| POST faults | kind*, operation*, service, where, times, skip, code, status, seconds | see `faults.Fault` |
| GET faults | | `{"faults": [...]}` |
| DELETE faults, faults/ID | | lifts all faults, or one; calls that wait go on at once |
| POST limits | enforce* | AWS's requests per second on or off (off at start) |
| POST settings | silenceSeconds (30), creatingSeconds (0), quotas {kind: n}, recordingOutcome | answers all of them |
| POST clock | at | stops the clock there, through what happens by itself until then; without `at` it goes again |
| POST tokens/check | token*, use | claims of a valid chat or stage token, else 403; `use` spends a chat token |
| POST owners | region*, owners* [{name*, tags, channel, room, live}] | see `control_bulk` |
| POST broadcasts | channelArn* | an encoder connects: Session Created; answers streamId |
| GET broadcasts/ID | | streamId, channelArn, startTime, endTime, health, viewerCount |
| POST broadcasts/ID/start | | Stream Start, and Recording Start if the channel records |
| POST broadcasts/ID/health | state*: STARVING, HEALTHY | Starvation Start, Starvation End |
| POST broadcasts/ID/viewers | count* | what viewerCount says from now on |
| POST broadcasts/ID/ingest | | keep-alive, as is every other call of the broadcast |
| POST broadcasts/ID/end | | Stream End, Session Ended, Recording End (after the reconnect window) |
| POST chat/messages | content*, requestId, and token or roomArn, userId, attributes | says it; answers messageId |
| POST stages/participants | stageArn*, userId, participantId, attributes, token, publish (true) | joins, publishes |
| POST stages/participants/ID/publish | stageArn* | Participant Published |
| POST stages/participants/ID/unpublish | stageArn* | Participant Unpublished |
| POST stages/participants/ID/leave | stageArn* | Participant Unpublished if publishing; the last one ends the session |

Statuses: 404 unknown, 409 in the wrong state (a channel that is live already), 403 no stream key or a bad token, 410 a
broadcast that has ended (StopStream, silence), 429 an account limit, 400 a body that cannot be meant.

Recordings of `recordingOutcome` `ended` (at start), `empty`, `start-failure` or `end-failure` put the events and the
objects on S3 that AWS would, with a playlist of nothing; anybody may fetch the objects.

Faults strike moto's services too; there the operation is the last part of `X-Amz-Target` (`ReceiveMessage`), and of S3
ListObjectsV2, GetObject, PutObject or DeleteObjects. `empty-page` is for FilterLogEvents alone.

Where it differs from AWS: nothing is transcoded or shown; there is no chat socket; chat is logged at once, to
CloudWatch Logs alone; events leave at once and in order; storage configurations, compositions, replication, restriction
policies, viewer session revocation and ad breaks are missing; tokens are not AWS's format; signatures are not checked.
"""
