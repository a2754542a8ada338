-- A record as schema 0004 wrote it: the tables as that migration made them, and something in every one.
-- Frozen: a test opens it with the present program. See README.md beside it.

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE annotator (
	id INTEGER NOT NULL,
	name VARCHAR(64) NOT NULL,
	kind VARCHAR(16) NOT NULL,
	role VARCHAR(16) NOT NULL,
	password_hash TEXT,
	disabled BOOLEAN NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_annotator PRIMARY KEY (id),
	CONSTRAINT uq_annotator_name UNIQUE (name)
);

CREATE TABLE job (
	id INTEGER NOT NULL,
	kind VARCHAR(32) NOT NULL,
	state VARCHAR(16) NOT NULL,
	payload JSON NOT NULL,
	progress DOUBLE NOT NULL,
	message TEXT NOT NULL,
	attempts INTEGER NOT NULL,
	pid INTEGER,
	created_at DATETIME NOT NULL,
	started_at DATETIME,
	finished_at DATETIME,
	CONSTRAINT pk_job PRIMARY KEY (id),
	CONSTRAINT ck_job_state_known CHECK (state IN ('queued', 'running', 'done', 'failed'))
);

CREATE TABLE model_version (
	id INTEGER NOT NULL,
	name VARCHAR(32) NOT NULL,
	kind VARCHAR(16) NOT NULL,
	parent_id INTEGER,
	path TEXT NOT NULL,
	digest VARCHAR(64) NOT NULL,
	backbone VARCHAR(64) NOT NULL,
	backbone_key TEXT NOT NULL,
	classes JSON NOT NULL,
	settings JSON NOT NULL,
	seed INTEGER NOT NULL,
	labelled INTEGER NOT NULL,
	last_decision_id INTEGER NOT NULL,
	in_use BOOLEAN NOT NULL,
	created_at DATETIME NOT NULL, removed_at DATETIME,
	CONSTRAINT pk_model_version PRIMARY KEY (id),
	CONSTRAINT fk_model_version_parent_id FOREIGN KEY(parent_id) REFERENCES model_version (id),
	CONSTRAINT uq_model_version_name UNIQUE (name)
);

CREATE TABLE quarantine (
	id INTEGER NOT NULL,
	source TEXT NOT NULL,
	path TEXT,
	sha256 VARCHAR(64),
	reason TEXT NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_quarantine PRIMARY KEY (id)
);

CREATE TABLE round (
	id INTEGER NOT NULL,
	number INTEGER NOT NULL,
	state VARCHAR(16) NOT NULL,
	k INTEGER NOT NULL,
	strategy VARCHAR(64) NOT NULL,
	parameters JSON NOT NULL,
	seed INTEGER NOT NULL,
	backbone VARCHAR(64) NOT NULL,
	backbone_key TEXT NOT NULL,
	model_version_id INTEGER,
	trained_version_id INTEGER,
	pool INTEGER NOT NULL,
	pool_hash VARCHAR(64) NOT NULL,
	package_version VARCHAR(32) NOT NULL,
	timing JSON NOT NULL,
	created_at DATETIME NOT NULL,
	updated_at DATETIME NOT NULL,
	CONSTRAINT pk_round PRIMARY KEY (id),
	CONSTRAINT ck_round_state_known CHECK (state IN ('PROPOSED', 'REVIEWING', 'COMMITTING', 'COMMITTED', 'TRAINED', 'EVALUATED', 'ABANDONED')),
	CONSTRAINT fk_round_model_version_id FOREIGN KEY(model_version_id) REFERENCES model_version (id),
	CONSTRAINT fk_round_trained_version_id FOREIGN KEY(trained_version_id) REFERENCES model_version (id),
	CONSTRAINT uq_round_number UNIQUE (number)
);

CREATE TABLE session (
	id INTEGER NOT NULL,
	token_hash VARCHAR(64) NOT NULL,
	annotator_id INTEGER NOT NULL,
	created_at DATETIME NOT NULL,
	expires_at DATETIME NOT NULL,
	CONSTRAINT pk_session PRIMARY KEY (id),
	CONSTRAINT fk_session_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotator (id),
	CONSTRAINT uq_session_token_hash UNIQUE (token_hash)
);

CREATE TABLE evaluation (
	id INTEGER NOT NULL,
	model_version_id INTEGER NOT NULL,
	round_id INTEGER,
	split VARCHAR(16) NOT NULL,
	n INTEGER NOT NULL,
	metrics JSON NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_evaluation PRIMARY KEY (id),
	CONSTRAINT fk_evaluation_model_version_id FOREIGN KEY(model_version_id) REFERENCES model_version (id),
	CONSTRAINT fk_evaluation_round_id FOREIGN KEY(round_id) REFERENCES round (id)
);

CREATE TABLE proposal (
	id INTEGER NOT NULL,
	round_id INTEGER NOT NULL,
	image_id INTEGER NOT NULL,
	rank INTEGER NOT NULL,
	probability DOUBLE,
	uncertainty DOUBLE,
	predicted VARCHAR(64),
	path TEXT NOT NULL,
	why TEXT NOT NULL,
	CONSTRAINT pk_proposal PRIMARY KEY (id),
	CONSTRAINT fk_proposal_image_id FOREIGN KEY(image_id) REFERENCES image (id),
	CONSTRAINT fk_proposal_round_id FOREIGN KEY(round_id) REFERENCES round (id),
	CONSTRAINT uq_proposal_round_id_image_id UNIQUE (round_id, image_id),
	CONSTRAINT uq_proposal_round_id_rank UNIQUE (round_id, rank)
);

CREATE TABLE lease (
	id INTEGER NOT NULL,
	proposal_id INTEGER NOT NULL,
	annotator_id INTEGER NOT NULL,
	expires_at DATETIME NOT NULL,
	CONSTRAINT pk_lease PRIMARY KEY (id),
	CONSTRAINT fk_lease_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotator (id),
	CONSTRAINT fk_lease_proposal_id FOREIGN KEY(proposal_id) REFERENCES proposal (id),
	CONSTRAINT uq_lease_proposal_id_annotator_id UNIQUE (proposal_id, annotator_id)
);

CREATE TABLE move (
	id INTEGER NOT NULL,
	image_id INTEGER NOT NULL,
	decision_id INTEGER NOT NULL,
	folder TEXT NOT NULL,
	file_name TEXT NOT NULL,
	state VARCHAR(16) NOT NULL,
	final_path TEXT,
	error TEXT,
	created_at DATETIME NOT NULL,
	done_at DATETIME,
	CONSTRAINT pk_move PRIMARY KEY (id),
	CONSTRAINT ck_move_state_known CHECK (state IN ('pending', 'done')),
	CONSTRAINT fk_move_decision_id FOREIGN KEY(decision_id) REFERENCES decision (id),
	CONSTRAINT fk_move_image_id FOREIGN KEY(image_id) REFERENCES image (id)
);

CREATE TABLE note (
	id INTEGER NOT NULL,
	op_id VARCHAR(64) NOT NULL,
	image_id INTEGER NOT NULL,
	annotator_id INTEGER NOT NULL,
	text TEXT NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_note PRIMARY KEY (id),
	CONSTRAINT fk_note_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotator (id),
	CONSTRAINT fk_note_image_id FOREIGN KEY(image_id) REFERENCES image (id),
	CONSTRAINT uq_note_op_id UNIQUE (op_id)
);

CREATE TABLE ranking (
	id INTEGER NOT NULL,
	model_version_id INTEGER,
	strategy VARCHAR(64) NOT NULL,
	parameters JSON NOT NULL,
	seed INTEGER NOT NULL,
	backbone VARCHAR(64) NOT NULL,
	backbone_key TEXT NOT NULL,
	pool INTEGER NOT NULL,
	pool_hash VARCHAR(64) NOT NULL,
	labelled INTEGER NOT NULL,
	last_decision_id INTEGER NOT NULL,
	histogram JSON NOT NULL,
	timing JSON NOT NULL,
	created_at DATETIME NOT NULL,
	CONSTRAINT pk_ranking PRIMARY KEY (id),
	CONSTRAINT fk_ranking_model_version_id FOREIGN KEY(model_version_id) REFERENCES model_version (id)
);

CREATE TABLE ranking_item (
	id INTEGER NOT NULL,
	ranking_id INTEGER NOT NULL,
	lane VARCHAR(16) NOT NULL,
	position INTEGER NOT NULL,
	image_id INTEGER NOT NULL,
	probability DOUBLE,
	uncertainty DOUBLE,
	predicted VARCHAR(64),
	why TEXT NOT NULL,
	CONSTRAINT pk_ranking_item PRIMARY KEY (id),
	CONSTRAINT ck_ranking_item_lane_known CHECK (lane IN ('main', 'grid', 'mistakes')),
	CONSTRAINT fk_ranking_item_image_id FOREIGN KEY(image_id) REFERENCES image (id),
	CONSTRAINT fk_ranking_item_ranking_id FOREIGN KEY(ranking_id) REFERENCES ranking (id),
	CONSTRAINT uq_ranking_item_lane_position UNIQUE (lane, position)
);

CREATE TABLE "image" (
	id INTEGER NOT NULL,
	sha256 VARCHAR(64) NOT NULL,
	path TEXT NOT NULL,
	home TEXT NOT NULL,
	split VARCHAR(16) NOT NULL,
	label VARCHAR(64),
	missing BOOLEAN NOT NULL,
	width INTEGER NOT NULL,
	height INTEGER NOT NULL,
	format VARCHAR(16) NOT NULL,
	size BIGINT NOT NULL,
	mtime_ns BIGINT NOT NULL,
	dhash VARCHAR(16) NOT NULL,
	near_duplicate_of INTEGER,
	imported_at DATETIME NOT NULL,
	CONSTRAINT pk_image PRIMARY KEY (id),
	CONSTRAINT ck_image_split_known CHECK (split IN ('unlabelled', 'train', 'validation', 'test', 'sorted')),
	CONSTRAINT fk_image_near_duplicate_of FOREIGN KEY(near_duplicate_of) REFERENCES image (id),
	CONSTRAINT uq_image_sha256 UNIQUE (sha256)
);

CREATE TABLE "decision" (
	id INTEGER NOT NULL,
	op_id VARCHAR(64) NOT NULL,
	image_id INTEGER NOT NULL,
	round_id INTEGER,
	annotator_id INTEGER NOT NULL,
	action VARCHAR(16) NOT NULL,
	label VARCHAR(64),
	supersedes INTEGER,
	elapsed_ms INTEGER,
	created_at DATETIME NOT NULL, opinion BOOLEAN DEFAULT 0 NOT NULL, sort_run_id INTEGER CONSTRAINT fk_decision_sort_run_id REFERENCES sort_run (id),
	CONSTRAINT pk_decision PRIMARY KEY (id),
	CONSTRAINT ck_decision_action_known CHECK (action IN ('confirm', 'correct', 'skip', 'undo', 'import', 'sort')),
	CONSTRAINT fk_decision_annotator_id FOREIGN KEY(annotator_id) REFERENCES annotator (id),
	CONSTRAINT fk_decision_image_id FOREIGN KEY(image_id) REFERENCES image (id),
	CONSTRAINT fk_decision_round_id FOREIGN KEY(round_id) REFERENCES round (id),
	CONSTRAINT fk_decision_supersedes FOREIGN KEY(supersedes) REFERENCES decision (id),
	CONSTRAINT uq_decision_op_id UNIQUE (op_id)
);

CREATE TABLE sort_run (
	id INTEGER NOT NULL,
	state VARCHAR(16) NOT NULL,
	model_version_id INTEGER NOT NULL,
	above DOUBLE NOT NULL,
	seed INTEGER NOT NULL,
	audit INTEGER NOT NULL,
	pool INTEGER NOT NULL,
	planned INTEGER NOT NULL,
	passed_over INTEGER NOT NULL,
	undone INTEGER NOT NULL,
	sorted_to INTEGER NOT NULL,
	undone_to INTEGER NOT NULL,
	expected JSON NOT NULL,
	created_at DATETIME NOT NULL,
	finished_at DATETIME,
	undone_at DATETIME,
	CONSTRAINT pk_sort_run PRIMARY KEY (id),
	CONSTRAINT ck_sort_run_state_known CHECK (state IN ('planning', 'sorting', 'done', 'undoing', 'undone')),
	CONSTRAINT fk_sort_run_model_version_id FOREIGN KEY(model_version_id) REFERENCES model_version (id)
);

CREATE TABLE sort_item (
	id INTEGER NOT NULL,
	run_id INTEGER NOT NULL,
	position INTEGER NOT NULL,
	image_id INTEGER NOT NULL,
	label VARCHAR(64) NOT NULL,
	probability DOUBLE NOT NULL,
	uncertainty DOUBLE NOT NULL,
	passed_over BOOLEAN NOT NULL,
	audit INTEGER,
	CONSTRAINT pk_sort_item PRIMARY KEY (id),
	CONSTRAINT fk_sort_item_image_id FOREIGN KEY(image_id) REFERENCES image (id),
	CONSTRAINT fk_sort_item_run_id FOREIGN KEY(run_id) REFERENCES sort_run (id),
	CONSTRAINT uq_sort_item_run_id_image_id UNIQUE (run_id, image_id),
	CONSTRAINT uq_sort_item_run_id_position UNIQUE (run_id, position)
);

CREATE INDEX ix_job_state_id ON job (state, id);

CREATE INDEX ix_quarantine_sha256 ON quarantine (sha256);

CREATE INDEX ix_round_state ON round (state);

CREATE INDEX ix_session_annotator_id ON session (annotator_id);

CREATE INDEX ix_evaluation_model_version_id ON evaluation (model_version_id);

CREATE INDEX ix_evaluation_round_id ON evaluation (round_id);

CREATE INDEX ix_proposal_image_id ON proposal (image_id);

CREATE INDEX ix_lease_annotator_id ON lease (annotator_id);

CREATE INDEX ix_lease_expires_at ON lease (expires_at);

CREATE INDEX ix_move_image_id ON move (image_id);

CREATE INDEX ix_move_state_id ON move (state, id);

CREATE INDEX ix_note_image_id ON note (image_id);

CREATE INDEX ix_ranking_item_image_id ON ranking_item (image_id);

CREATE INDEX ix_image_dhash ON image (dhash);

CREATE UNIQUE INDEX uq_image_path ON image (path) WHERE NOT missing;

CREATE INDEX ix_image_split_missing_label ON image (split, missing, label);

CREATE INDEX ix_decision_annotator_id ON decision (annotator_id);

CREATE INDEX ix_decision_image_id_id ON decision (image_id, id);

CREATE INDEX ix_decision_round_id_action ON decision (round_id, action);

CREATE INDEX ix_decision_supersedes ON decision (supersedes);

CREATE INDEX ix_sort_run_state ON sort_run (state);

CREATE INDEX ix_sort_item_audit ON sort_item (audit);

INSERT INTO alembic_version (version_num) VALUES ('0004');
INSERT INTO annotator (id, name, kind, role, password_hash, disabled, created_at)
  VALUES (1, 'local', 'person', 'annotator', NULL, 0, '2026-11-01 12:00:00.000000');
INSERT INTO annotator (id, name, kind, role, password_hash, disabled, created_at)
  VALUES (2, 'Zoë', 'person', 'admin', 'scrypt$32768$8$3$c2FsdHNhbHRzYWx0c2FsdA==$a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=', 0, '2026-11-01 12:01:00.000000');
INSERT INTO annotator (id, name, kind, role, password_hash, disabled, created_at)
  VALUES (3, 'files', 'files', 'annotator', NULL, 0, '2026-11-01 12:02:00.000000');
INSERT INTO annotator (id, name, kind, role, password_hash, disabled, created_at)
  VALUES (4, 'gone', 'person', 'annotator', NULL, 1, '2026-11-01 12:03:00.000000');
INSERT INTO annotator (id, name, kind, role, password_hash, disabled, created_at)
  VALUES (5, 'machine', 'machine', 'annotator', NULL, 0, '2026-11-13 12:00:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (1, '1111111111111111111111111111111111111111111111111111111111111111', 'pools/Train/withMask/a.jpg', 'pools/Unlabelled/a.jpg', 'train', 'withMask', 0, 640, 481, 'JPEG', 5001, 1764000000123456790, 'f0f0f0f0f0f0f0f1', NULL, '2026-11-02 12:01:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (2, '2222222222222222222222222222222222222222222222222222222222222222', 'pools/Train/withoutMask/it''s a "b", ü.jpg', 'pools/Unlabelled/deep/it''s a "b", ü.jpg', 'train', 'withoutMask', 0, 640, 482, 'JPEG', 5002, 1764000000123456791, 'f0f0f0f0f0f0f0f2', NULL, '2026-11-02 12:02:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (3, '3333333333333333333333333333333333333333333333333333333333333333', 'pools/Unlabelled/c.jpg', 'pools/Unlabelled/c.jpg', 'unlabelled', NULL, 0, 640, 483, 'JPEG', 5003, 1764000000123456792, 'f0f0f0f0f0f0f0f3', NULL, '2026-11-02 12:03:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (4, '4444444444444444444444444444444444444444444444444444444444444444', 'pools/Test/withMask/d.jpg', 'pools/Test/withMask/d.jpg', 'test', 'withMask', 0, 640, 484, 'JPEG', 5004, 1764000000123456793, 'f0f0f0f0f0f0f0f4', NULL, '2026-11-02 12:04:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (5, '5555555555555555555555555555555555555555555555555555555555555555', 'pools/Unlabelled/c.jpg', 'pools/Unlabelled/c.jpg', 'unlabelled', NULL, 1, 640, 485, 'JPEG', 51234567890, 1764000000123456794, 'f0f0f0f0f0f0f0f5', NULL, '2026-11-02 12:05:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (6, '6666666666666666666666666666666666666666666666666666666666666666', 'pools/Validation/withoutMask/e.jpg', 'pools/Validation/withoutMask/e.jpg', 'validation', 'withoutMask', 0, 640, 486, 'JPEG', 5006, 1764000000123456795, 'f0f0f0f0f0f0f0f6', 2, '2026-11-02 12:06:00.000000');
INSERT INTO image (id, sha256, path, home, split, label, missing, width, height, format, size, mtime_ns, dhash, near_duplicate_of, imported_at)
  VALUES (7, '7777777777777777777777777777777777777777777777777777777777777777', 'pools/Sorted/withMask/f.jpg', 'pools/Unlabelled/f.jpg', 'sorted', 'withMask', 0, 640, 487, 'JPEG', 5007, 1764000000123456796, 'f0f0f0f0f0f0f0f7', NULL, '2026-11-02 12:07:00.000000');
INSERT INTO job (id, kind, state, payload, progress, message, attempts, pid, created_at, started_at, finished_at)
  VALUES (1, 'round', 'done', '{}', 1.0, 'done', 1, 4242, '2026-11-03 12:00:00.000000', '2026-11-03 12:01:00.000000', '2026-11-03 12:02:00.000000');
INSERT INTO job (id, kind, state, payload, progress, message, attempts, pid, created_at, started_at, finished_at)
  VALUES (2, 'round', 'queued', '{"why": "batch"}', 0.0, '', 0, NULL, '2026-11-03 12:03:00.000000', NULL, NULL);
INSERT INTO job (id, kind, state, payload, progress, message, attempts, pid, created_at, started_at, finished_at)
  VALUES (3, 'refresh', 'failed', '{}', 0.5, 'no label yet', 3, 77, '2026-11-11 12:05:00.000000', '2026-11-11 12:06:00.000000', '2026-11-11 12:07:00.000000');
INSERT INTO model_version (id, name, kind, parent_id, path, digest, backbone, backbone_key, classes, settings, seed, labelled, last_decision_id, in_use, created_at, removed_at)
  VALUES (1, 'm0001', 'head', NULL, 'db/models/m0001-aaaaaaaa.npz', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'efficientnet_lite0', 'efficientnet_lite0:imagenet:multi-depth', '["withMask", "withoutMask"]', '{"head_c": 30.0, "decisions": [[1, 4]]}', 0, 2, 4, 0, '2026-11-04 12:01:00.000000', '2026-11-12 12:00:00.000000');
INSERT INTO model_version (id, name, kind, parent_id, path, digest, backbone, backbone_key, classes, settings, seed, labelled, last_decision_id, in_use, created_at, removed_at)
  VALUES (2, 'm0002', 'head', 1, 'db/models/m0002-aaaaaaaa.npz', 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc', 'efficientnet_lite0', 'efficientnet_lite0:imagenet:multi-depth', '["withMask", "withoutMask"]', '{"head_c": 30.0, "decisions": [[1, 4]]}', 0, 2, 4, 1, '2026-11-04 12:02:00.000000', NULL);
INSERT INTO quarantine (id, source, path, sha256, reason, created_at)
  VALUES (1, '/photos/broken.jpg', 'pools/Quarantine/broken.jpg', 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee', 'truncated', '2026-11-02 12:20:00.000000');
INSERT INTO quarantine (id, source, path, sha256, reason, created_at)
  VALUES (2, '/photos/link.jpg', NULL, NULL, 'symbolic link', '2026-11-02 12:21:00.000000');
INSERT INTO round (id, number, state, k, strategy, parameters, seed, backbone, backbone_key, model_version_id, trained_version_id, pool, pool_hash, package_version, timing, created_at, updated_at)
  VALUES (1, 1, 'EVALUATED', 2, 'cold-start', '{"asked": "auto"}', 7, 'efficientnet_lite0', 'efficientnet_lite0:imagenet:multi-depth', NULL, 2, 3, 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '0.1.0', '{"scan": 0.1, "total": 1.5}', '2026-11-05 12:01:00.000000', '2026-11-05 12:11:00.000000');
INSERT INTO round (id, number, state, k, strategy, parameters, seed, backbone, backbone_key, model_version_id, trained_version_id, pool, pool_hash, package_version, timing, created_at, updated_at)
  VALUES (2, 2, 'REVIEWING', 2, 'uncertainty', '{"asked": "auto"}', 7, 'efficientnet_lite0', 'efficientnet_lite0:imagenet:multi-depth', 2, NULL, 2, 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '0.1.0', '{"scan": 0.1, "total": 1.5}', '2026-11-05 12:02:00.000000', '2026-11-05 12:12:00.000000');
INSERT INTO session (id, token_hash, annotator_id, created_at, expires_at)
  VALUES (1, '9999999999999999999999999999999999999999999999999999999999999999', 2, '2026-11-06 12:00:00.000000', '2036-11-06 12:00:00.000000');
INSERT INTO sort_run (id, state, model_version_id, above, seed, audit, pool, planned, passed_over, undone, sorted_to, undone_to, expected, created_at, finished_at, undone_at)
  VALUES (1, 'done', 2, 0.98, 7, 1, 2, 1, 0, 0, 1, 0, '{"sorted": {"expected": 0.01}}', '2026-11-13 12:01:00.000000', '2026-11-13 12:02:00.000000', NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (1, 'op-00000000000000000000000000000001', 4, NULL, 3, 'import', 'withMask', NULL, NULL, '2026-11-07 12:01:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (2, 'op-00000000000000000000000000000002', 1, 1, 1, 'confirm', 'withMask', NULL, 850, '2026-11-07 12:02:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (3, 'op-00000000000000000000000000000003', 2, 1, 1, 'correct', 'withMask', NULL, 1200, '2026-11-07 12:03:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (4, 'op-00000000000000000000000000000004', 2, 1, 2, 'undo', NULL, 3, NULL, '2026-11-07 12:04:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (5, 'op-00000000000000000000000000000005', 2, 1, 2, 'correct', 'withoutMask', NULL, 2100, '2026-11-07 12:05:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (6, 'op-00000000000000000000000000000006', 3, 2, 1, 'skip', NULL, NULL, 400, '2026-11-07 12:06:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (7, 'op-00000000000000000000000000000007', 6, NULL, 3, 'import', 'withoutMask', NULL, NULL, '2026-11-07 12:07:00.000000', 0, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (8, 'op-00000000000000000000000000000008', 1, 1, 4, 'correct', 'withoutMask', NULL, 300, '2026-11-07 12:08:00.000000', 1, NULL);
INSERT INTO decision (id, op_id, image_id, round_id, annotator_id, action, label, supersedes, elapsed_ms, created_at, opinion, sort_run_id)
  VALUES (9, 'op-00000000000000000000000000000009', 7, NULL, 5, 'sort', 'withMask', NULL, NULL, '2026-11-07 12:09:00.000000', 0, 1);
INSERT INTO evaluation (id, model_version_id, round_id, split, n, metrics, created_at)
  VALUES (1, 2, 1, 'test', 1, '{"accuracy": 1.0, "confusion": [[1, 0], [0, 0]]}', '2026-11-08 12:00:00.000000');
INSERT INTO proposal (id, round_id, image_id, rank, probability, uncertainty, predicted, path, why)
  VALUES (1, 1, 1, 1, NULL, NULL, NULL, 'pools/Unlabelled/a.jpg', '');
INSERT INTO proposal (id, round_id, image_id, rank, probability, uncertainty, predicted, path, why)
  VALUES (2, 1, 2, 2, NULL, NULL, NULL, 'pools/Unlabelled/b.jpg', '');
INSERT INTO proposal (id, round_id, image_id, rank, probability, uncertainty, predicted, path, why)
  VALUES (3, 2, 3, 1, 0.625, 0.75, 'withMask', 'pools/Unlabelled/c.jpg', '');
INSERT INTO lease (id, proposal_id, annotator_id, expires_at)
  VALUES (1, 3, 1, '2026-11-09 12:00:00.000000');
INSERT INTO move (id, image_id, decision_id, folder, file_name, state, final_path, error, created_at, done_at)
  VALUES (1, 1, 2, 'pools/Train/withMask', 'a.jpg', 'done', 'pools/Train/withMask/a.jpg', NULL, '2026-11-07 12:31:00.000000', '2026-11-07 12:41:00.000000');
INSERT INTO move (id, image_id, decision_id, folder, file_name, state, final_path, error, created_at, done_at)
  VALUES (2, 2, 5, 'pools/Train/withoutMask', 'it''s a "b", ü.jpg', 'pending', NULL, 'No space left on device', '2026-11-07 12:32:00.000000', NULL);
INSERT INTO move (id, image_id, decision_id, folder, file_name, state, final_path, error, created_at, done_at)
  VALUES (3, 7, 9, 'pools/Sorted/withMask', 'f.jpg', 'done', 'pools/Sorted/withMask/f.jpg', NULL, '2026-11-07 12:33:00.000000', '2026-11-07 12:43:00.000000');
INSERT INTO note (id, op_id, image_id, annotator_id, text, created_at)
  VALUES (1, 'op-note-1', 3, 2, 'blurred?
second line', '2026-11-10 12:00:00.000000');
INSERT INTO ranking (id, model_version_id, strategy, parameters, seed, backbone, backbone_key, pool, pool_hash, labelled, last_decision_id, histogram, timing, created_at)
  VALUES (1, NULL, 'uncertainty', '{"asked": "auto"}', 7, 'efficientnet_lite0', 'efficientnet_lite0:imagenet:multi-depth', 1, 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', 2, 8, '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]', '{"rank": 0.25}', '2026-11-11 12:01:00.000000');
INSERT INTO ranking (id, model_version_id, strategy, parameters, seed, backbone, backbone_key, pool, pool_hash, labelled, last_decision_id, histogram, timing, created_at)
  VALUES (2, 2, 'uncertainty', '{"asked": "auto"}', 7, 'efficientnet_lite0', 'efficientnet_lite0:imagenet:multi-depth', 1, 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', 2, 8, '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]', '{"rank": 0.25}', '2026-11-11 12:02:00.000000');
INSERT INTO ranking_item (id, ranking_id, lane, position, image_id, probability, uncertainty, predicted, why)
  VALUES (1, 2, 'main', 1, 3, 0.625, 0.75, 'withMask', 'uncertain');
INSERT INTO ranking_item (id, ranking_id, lane, position, image_id, probability, uncertainty, predicted, why)
  VALUES (2, 2, 'grid', 1, 3, 0.625, 0.75, 'withMask', '');
INSERT INTO ranking_item (id, ranking_id, lane, position, image_id, probability, uncertainty, predicted, why)
  VALUES (3, 2, 'mistakes', 1, 1, NULL, NULL, NULL, '');
INSERT INTO sort_item (id, run_id, position, image_id, label, probability, uncertainty, passed_over, audit)
  VALUES (1, 1, 1, 7, 'withMask', 0.99, 0.02, 0, 1);
