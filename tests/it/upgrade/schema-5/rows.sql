-- What a host of the last version with five migrations left when it was killed: its tables, row by row.
INSERT OR REPLACE INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr, log)
    VALUES (1048577, X'49ab6e048e15ef9d01884bd554618750', 1795727633053, 1795727633061, NULL, 339, 203, NULL, 131072, 0, 0, NULL, 'application/json', X'7b22616e73776572223a2034327d', NULL, NULL, NULL);
INSERT OR REPLACE INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr, log)
    VALUES (2097153, X'49ab6e048e15ef9d01884bd554618750', 1795727633071, 1795727633072, '{"kind":"trap","message":"wasm trap: integer divide by zero","backtrace":"error while executing at wasm backtrace:\n    0:     0x3c - <unknown>!divide\n    1:     0x42 - <unknown>!work\n    2:     0x48 - <unknown>!<wasm function 2>"}', 327, 169, NULL, 65536, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT OR REPLACE INTO attempt (id, worker, started_at, finished_at, failure, duration_us, cpu_us, fuel, peak_memory_bytes, disk_bytes, truncated, artifacts, content_type, output, stdout, stderr, log)
    VALUES (2097154, X'49ab6e048e15ef9d01884bd554618750', 1795727633073, 1795727633074, '{"kind":"trap","message":"wasm trap: integer divide by zero","backtrace":"error while executing at wasm backtrace:\n    0:     0x3c - <unknown>!divide\n    1:     0x42 - <unknown>!work\n    2:     0x48 - <unknown>!<wasm function 2>"}', 144, 80, NULL, 65536, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT OR REPLACE INTO counter (state, tasks)
    VALUES (0, 0);
INSERT OR REPLACE INTO counter (state, tasks)
    VALUES (1, 2);
INSERT OR REPLACE INTO counter (state, tasks)
    VALUES (2, 1);
INSERT OR REPLACE INTO counter (state, tasks)
    VALUES (3, 1);
INSERT OR REPLACE INTO counter (state, tasks)
    VALUES (4, 1);
INSERT OR REPLACE INTO counter (state, tasks)
    VALUES (5, 1);
INSERT OR REPLACE INTO dedup (key, task_id, expires_at)
    VALUES ('d', X'01a219b52ab774caa774671bcc5e6971', 1795727693079);
INSERT OR REPLACE INTO module (digest, info, wasm, blob)
    VALUES (X'67a1aeaac0f79ac5ba78ae135e7dbca47592fab31d7b7f1840034b41777897c1', '{"kind":"task","size_bytes":4142,"imports":[],"needs":[],"descriptor":{"summary":"Answers with its input.","input_schema":null,"output_schema":null},"compiled_ms":118}', X'', X'67a1aeaac0f79ac5ba78ae135e7dbca47592fab31d7b7f1840034b41777897c1');
INSERT OR REPLACE INTO module (digest, info, wasm, blob)
    VALUES (X'7194cf570337fddf2373f474e21eb788ae848955ec6e343974bd69c549e44174', '{"kind":"core_command","size_bytes":103,"imports":[],"needs":[],"descriptor":null,"compiled_ms":30}', X'', X'7194cf570337fddf2373f474e21eb788ae848955ec6e343974bd69c549e44174');
INSERT OR REPLACE INTO module (digest, info, wasm, blob)
    VALUES (X'6c1c61357dea3da2e4be965ccf2205e6cb053f1ca047b92145cf7c79de9697ca', '{"kind":"core_command","size_bytes":249,"imports":[],"needs":[],"descriptor":null,"compiled_ms":75}', X'', X'6c1c61357dea3da2e4be965ccf2205e6cb053f1ca047b92145cf7c79de9697ca');
INSERT OR REPLACE INTO module_name (id, name)
    VALUES (1, 'echo');
INSERT OR REPLACE INTO module_name (id, name)
    VALUES (2, 'trap');
INSERT OR REPLACE INTO module_name (id, name)
    VALUES (3, 'spin');
INSERT OR REPLACE INTO module_version (seq, name, digest, created_at)
    VALUES (1, 'echo', X'67a1aeaac0f79ac5ba78ae135e7dbca47592fab31d7b7f1840034b41777897c1', 1795727632868);
INSERT OR REPLACE INTO module_version (seq, name, digest, created_at)
    VALUES (2, 'spin', X'7194cf570337fddf2373f474e21eb788ae848955ec6e343974bd69c549e44174', 1795727632915);
INSERT OR REPLACE INTO module_version (seq, name, digest, created_at)
    VALUES (3, 'trap', X'6c1c61357dea3da2e4be965ccf2205e6cb053f1ca047b92145cf7c79de9697ca', 1795727633039);
INSERT OR REPLACE INTO newest_change (one, number)
    VALUES (1, 14);
INSERT OR REPLACE INTO ping (one, n)
    VALUES (1, 0);
INSERT OR REPLACE INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost, created_at, updated_at, fence, cancel_requested, worker, claimed_at, finished_at, progress, progress_note, change, name, error_kind)
    VALUES (1, X'01a219b52a927bd393ed2e01f74511bb', 1, 3, 1, 1795727633042, 1, 1, 0, 1795727633042, 1795727633061, NULL, 0, X'49ab6e048e15ef9d01884bd554618750', 1795727633053, 1795727633061, 0.0, '', 3, 1, NULL);
INSERT OR REPLACE INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost, created_at, updated_at, fence, cancel_requested, worker, claimed_at, finished_at, progress, progress_note, change, name, error_kind)
    VALUES (2, X'01a219b52aaa75d98badac216d41727b', 2, 4, 2, 1795727633072, 2, 2, 0, 1795727633066, 1795727633074, NULL, 0, X'49ab6e048e15ef9d01884bd554618750', 1795727633073, 1795727633074, 0.0, '', 8, 2, 'trap');
INSERT OR REPLACE INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost, created_at, updated_at, fence, cancel_requested, worker, claimed_at, finished_at, progress, progress_note, change, name, error_kind)
    VALUES (3, X'01a219b52ab4776f97c47084cccb7453', 1, 5, 2, 1795731233076, 0, 1, 0, 1795727633076, 1795727633078, NULL, 0, NULL, NULL, 1795727633078, 0.0, '', 10, 1, NULL);
INSERT OR REPLACE INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost, created_at, updated_at, fence, cancel_requested, worker, claimed_at, finished_at, progress, progress_note, change, name, error_kind)
    VALUES (4, X'01a219b52ab774caa774671bcc5e6971', 1, 1, 2, 1795727693079, 0, 1, 0, 1795727633079, 1795727633079, NULL, 0, NULL, NULL, NULL, 0.0, '', 11, 1, NULL);
INSERT OR REPLACE INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost, created_at, updated_at, fence, cancel_requested, worker, claimed_at, finished_at, progress, progress_note, change, name, error_kind)
    VALUES (5, X'01a219b52aba7a44abcab5ce72c691d0', 1, 1, 2, 1795727693082, 0, 1, 0, 1795727633082, 1795727633082, NULL, 0, NULL, NULL, NULL, 0.0, '', 12, 1, NULL);
INSERT OR REPLACE INTO task (seq, id, template, state, priority, run_at, attempt, max_attempts, lost, created_at, updated_at, fence, cancel_requested, worker, claimed_at, finished_at, progress, progress_note, change, name, error_kind)
    VALUES (6, X'01a219b52abb7a66a33f831089ee5514', 3, 2, 2, 1795727633083, 1, 1, 0, 1795727633083, 1795727633084, 4726309396592524763, 0, X'49ab6e048e15ef9d01884bd554618750', 1795727633084, NULL, 0.0, '', 14, 3, NULL);
INSERT OR REPLACE INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body)
    VALUES (1, X'803c1024a41179e3167dd6fe4816d80a', 'application/json', NULL, NULL, NULL, NULL, '{"team": "a"}', 'kept', X'7b22616e73776572223a2034327d');
INSERT OR REPLACE INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body)
    VALUES (2, X'538320a987f69f43b8775496edd28ad5', 'application/octet-stream', NULL, NULL, NULL, NULL, NULL, NULL, X'');
INSERT OR REPLACE INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body)
    VALUES (3, X'a7bcb374855712ace35d1134700091b6', 'application/json', NULL, NULL, NULL, NULL, NULL, NULL, X'31');
INSERT OR REPLACE INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body)
    VALUES (4, X'5bc11bf8e3ca7d22f76380cfd3ccf153', 'application/json', NULL, NULL, NULL, NULL, NULL, NULL, X'226c6174657222');
INSERT OR REPLACE INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body)
    VALUES (5, X'7bcdbcc7a8cff3382463db3e92ed4539', 'text/plain', X'b597e4c2228c4c4eb379f110f22540de', 2000, NULL, NULL, NULL, NULL, NULL);
INSERT OR REPLACE INTO task_spec (seq, fingerprint, content_type, blob, blob_bytes, args, env, metadata, idempotency_key, body)
    VALUES (6, X'c01e5ed09a42e4b7d2825341d80f8996', 'application/octet-stream', NULL, NULL, NULL, NULL, NULL, NULL, X'');
INSERT OR REPLACE INTO template (id, digest, module, settings, tasks, name)
    VALUES (1, X'67a1aeaac0f79ac5ba78ae135e7dbca47592fab31d7b7f1840034b41777897c1', 'echo', '{"limits":{"timeout_ms":30000,"cpu_ms":10000,"fuel":null,"memory_bytes":134217728,"table_elements":20000,"disk_bytes":67108864,"disk_files":1024,"output_bytes":4194304,"stdout_bytes":1048576,"stderr_bytes":1048576,"log_bytes":1048576,"hostcall_bytes":8388608,"handles":4096,"resources":4096,"random_bytes":1048576},"retry":{"max_attempts":1,"max_lost":5,"base_ms":1000,"factor":2.0,"max_ms":16000,"jitter":true}}', 4, 1);
INSERT OR REPLACE INTO template (id, digest, module, settings, tasks, name)
    VALUES (2, X'6c1c61357dea3da2e4be965ccf2205e6cb053f1ca047b92145cf7c79de9697ca', 'trap', '{"limits":{"timeout_ms":30000,"cpu_ms":10000,"fuel":null,"memory_bytes":134217728,"table_elements":20000,"disk_bytes":67108864,"disk_files":1024,"output_bytes":4194304,"stdout_bytes":1048576,"stderr_bytes":1048576,"log_bytes":1048576,"hostcall_bytes":8388608,"handles":4096,"resources":4096,"random_bytes":1048576},"retry":{"max_attempts":2,"max_lost":5,"base_ms":1,"factor":2.0,"max_ms":16000,"jitter":true}}', 1, 2);
INSERT OR REPLACE INTO template (id, digest, module, settings, tasks, name)
    VALUES (3, X'7194cf570337fddf2373f474e21eb788ae848955ec6e343974bd69c549e44174', 'spin', '{"limits":{"timeout_ms":1500,"cpu_ms":60000,"fuel":null,"memory_bytes":134217728,"table_elements":20000,"disk_bytes":67108864,"disk_files":1024,"output_bytes":4194304,"stdout_bytes":1048576,"stderr_bytes":1048576,"log_bytes":1048576,"hostcall_bytes":8388608,"handles":4096,"resources":4096,"random_bytes":1048576},"retry":{"max_attempts":1,"max_lost":5,"base_ms":1000,"factor":2.0,"max_ms":16000,"jitter":true}}', 1, 3);
INSERT OR REPLACE INTO worker (id, heard_at)
    VALUES (X'49ab6e048e15ef9d01884bd554618750', 1795727632713);
