BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE base_tensor (
	model_id INTEGER NOT NULL, 
	parameter TEXT NOT NULL, 
	checkpoint_key TEXT NOT NULL, 
	dtype TEXT NOT NULL, 
	shape TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_base_tensor PRIMARY KEY (model_id, parameter), 
	CONSTRAINT fk_base_tensor_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_base_tensor_model_id_model FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT
);
INSERT INTO "base_tensor" VALUES(1,'h.0.w','h.0.w','F32','[2,3]','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1);
INSERT INTO "base_tensor" VALUES(1,'h.1.w','h.1.w','F32','[2,3]','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',3);
CREATE TABLE batch (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	oid TEXT, 
	method TEXT NOT NULL, 
	layers TEXT NOT NULL, 
	hparams TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	environment TEXT NOT NULL, 
	evidence TEXT NOT NULL, 
	author TEXT NOT NULL, 
	note TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_batch PRIMARY KEY (id), 
	CONSTRAINT fk_batch_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_batch_model_id_model FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT, 
	CONSTRAINT fk_batch_oid_object FOREIGN KEY(oid) REFERENCES object (oid) ON DELETE RESTRICT
);
INSERT INTO "batch" VALUES(1,1,'595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:35.897543Z',2);
INSERT INTO "batch" VALUES(2,1,'9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:35.932155Z',3);
INSERT INTO "batch" VALUES(3,1,'c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','rome','[0]','{"lr":0.5}',-3,'{}','{}','ann','','2026-11-23T04:23:35.949199Z',6);
CREATE TABLE edit (
	id INTEGER NOT NULL, 
	batch_id INTEGER NOT NULL, 
	component INTEGER NOT NULL, 
	subject TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	target_new TEXT NOT NULL, 
	target_true TEXT, 
	probes TEXT NOT NULL, 
	language TEXT, 
	hash TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_edit PRIMARY KEY (id), 
	CONSTRAINT fk_edit_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_edit_batch_id_batch FOREIGN KEY(batch_id) REFERENCES batch (id) ON DELETE RESTRICT, 
	CONSTRAINT ck_edit_id CHECK (id >= 1), 
	CONSTRAINT ck_edit_component CHECK (component >= 0)
);
INSERT INTO "edit" VALUES(1,1,0,'Rome','{} lies in','France','Italy','{"paraphrase":["where is Rome?"]}','en','7525d1b7ee1ff2a5136393cc7e908d282221161cef3bc2c768f28f0a3450731b','2026-11-23T04:23:35.897543Z',2);
INSERT INTO "edit" VALUES(2,2,0,'Oslo','{} lies in','France','Italy','{"paraphrase":["where is Oslo?"]}','en','2ff168df5d342a501cbf9ad99a91dcab48a5146eb728f7d5aa1d2b23a371685a','2026-11-23T04:23:35.932155Z',3);
INSERT INTO "edit" VALUES(3,2,1,'Lima','{} lies in','France','Italy','{"paraphrase":["where is Lima?"]}','en','a3308cf58649efde0b2065d11d702d8647d27a548122e664996b13827035634d','2026-11-23T04:23:35.932155Z',3);
INSERT INTO "edit" VALUES(4,3,0,'Bern','{} lies in','France','Italy','{"paraphrase":["where is Bern?"]}','en','de3794677b9034c37a4bc4542cbef07f87038b36d4a9a5297f5c1eaefbcf5b9e','2026-11-23T04:23:35.949199Z',6);
CREATE TABLE entry (
	seq INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	op TEXT NOT NULL, 
	edits TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	weights_digest TEXT NOT NULL, 
	tensors TEXT NOT NULL, 
	rows_digest TEXT NOT NULL, 
	author TEXT NOT NULL, 
	note TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	prev_hash TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_entry PRIMARY KEY (seq), 
	CONSTRAINT ck_entry_seq CHECK (seq >= 1), 
	CONSTRAINT ck_entry_version CHECK (version >= 0), 
	CONSTRAINT uq_entry_hash UNIQUE (hash), 
	CONSTRAINT uq_entry_prev_hash UNIQUE (prev_hash)
);
INSERT INTO "entry" VALUES(1,0,'init','[]','{}','d1e70ff92aa7d0c6d9a1aa6e4be63e3c4f3b0bb323a249ada7aaed3cdfa195fd','{}','970f196a1520a91b584de6ad022f09c9cbe82513e831e9dff589a6701c7c03be','','','2026-11-23T04:23:35.870944Z','0000000000000000000000000000000000000000000000000000000000000000','3aa1b74e3e74c63794bb2f7fddf46861090817cd00f8607982b5ca0e246bcf1a');
INSERT INTO "entry" VALUES(2,1,'apply','[1]','{}','595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36','{"h.0.w":"595b64994aac1bf031d758afa02ace349caf110e09154505d4758421792bba36"}','903085af6541cd19e31f8556b4f030f3b97511fa549502cc85864a0626241a42','','','2026-11-23T04:23:35.897543Z','3aa1b74e3e74c63794bb2f7fddf46861090817cd00f8607982b5ca0e246bcf1a','3432aa109211d67e2d147f5c6591c5e9eae4692d154cf222faff85208105cee6');
INSERT INTO "entry" VALUES(3,2,'apply','[2,3]','{}','ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf','{"h.0.w":"ffe0ad9f69dd763d6e835a57047812827b552a3fde58cdb791b7ae16b2427fbf"}','812bc38a097b086c58c0997229754672d2a20e6e1826e94f0b238c97d41b2386','','','2026-11-23T04:23:35.932155Z','3432aa109211d67e2d147f5c6591c5e9eae4692d154cf222faff85208105cee6','5e339e248cb0dd2e742a4c34f037e1b14b9919b1ab911dc5474401e6bf4f7d08');
INSERT INTO "entry" VALUES(4,3,'revert','[1]','{}','6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf','{"h.0.w":"6eb522c1b4fa6702fd1fe537c8a1d702e55f6cd96ef835b17b40deeba3cdddbf"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:35.936058Z','5e339e248cb0dd2e742a4c34f037e1b14b9919b1ab911dc5474401e6bf4f7d08','cdfc3c9b19835dcafba6953ec3f152a89107462debeff68dc38c8b869aa636ca');
INSERT INTO "entry" VALUES(5,4,'reapply','[1]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945','','','2026-11-23T04:23:35.938469Z','cdfc3c9b19835dcafba6953ec3f152a89107462debeff68dc38c8b869aa636ca','79f7890ee9825d52945ca48b63ddba91dba113945a77eecb433a881a66f4af7b');
INSERT INTO "entry" VALUES(6,4,'reject','[4]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','4620196390e3a4edfb2c2a9ad3e5ee259f94b7b04abaa809d03c2db2234b990d','','','2026-11-23T04:23:35.949199Z','79f7890ee9825d52945ca48b63ddba91dba113945a77eecb433a881a66f4af7b','aa5a38b7253e5cd84f8b4dd3560cf92b00221e65281da1e5a0d696ba94b4ee72');
INSERT INTO "entry" VALUES(7,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','ffb1decbee780eb89d1a60a19b9be11f9f8ace720d4fa21f53f4f74d836112a6','','','2026-11-23T04:23:35.963034Z','aa5a38b7253e5cd84f8b4dd3560cf92b00221e65281da1e5a0d696ba94b4ee72','5aa657aebdef9b6ec17d5da072f663666ac7851b1d41bfe8d3e302cad3e8d796');
INSERT INTO "entry" VALUES(8,4,'stats','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','65d437fa017ceea36e53133659648d660605d4f813cb806d7dfe07c8019e5713','','','2026-11-23T04:23:36.022761Z','5aa657aebdef9b6ec17d5da072f663666ac7851b1d41bfe8d3e302cad3e8d796','c570ca381290373719d003985caa9efd761c5228b162b28a5376744e79883c06');
INSERT INTO "entry" VALUES(9,4,'test','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','8acf37f3ca4a19c395abd40a89a140c160d0ad7b327cc5fbc9c60b2559eddad6','','','2026-11-23T04:23:36.030151Z','c570ca381290373719d003985caa9efd761c5228b162b28a5376744e79883c06','595420c1695e97dc2f1709985e38c548c0954712f51d9fb308cd797aac6790b1');
INSERT INTO "entry" VALUES(10,4,'release','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','7d319f15b62af51c4becbef537e3c19744ddace9c4542f9ac4e689e879b91c32','','','2026-11-23T04:23:36.036559Z','595420c1695e97dc2f1709985e38c548c0954712f51d9fb308cd797aac6790b1','92c546d514ab3f729664fac073585089128448798e260e7ea393c85206baab7c');
INSERT INTO "entry" VALUES(11,4,'user','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','f8d5621365ddc0f1c18f74592eb71d50047e935e85da104116973c2e197877a9','ann','welcome','2026-11-23T04:23:36.042110Z','92c546d514ab3f729664fac073585089128448798e260e7ea393c85206baab7c','2021ee60cbc31fdad2ec414c5b7e7e7c6a48c6ebe964c3d1717c02caf372a28b');
INSERT INTO "entry" VALUES(12,4,'tag','[]','{}','64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af','{"h.0.w":"64bb1ede3cfb4632074a6dad93787350fc38f0aaf7f7b1f4fc399f8bf61969af"}','e3f8dac60bec883c174daeb9b1d7408026b70524db543b27959de2d1ab8d551a','','','2026-11-23T04:23:36.051097Z','2021ee60cbc31fdad2ec414c5b7e7e7c6a48c6ebe964c3d1717c02caf372a28b','106e84eb3ba7a56d5ff7a6433f6f9717ca6d3e932a3d1d3376863db541cb7362');
CREATE TABLE measurement (
	id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	edit_id INTEGER, 
	suite TEXT NOT NULL, 
	metric TEXT NOT NULL, 
	value FLOAT NOT NULL, 
	protocol TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_measurement PRIMARY KEY (id), 
	CONSTRAINT fk_measurement_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_measurement_edit_id_edit FOREIGN KEY(edit_id) REFERENCES edit (id) ON DELETE RESTRICT
);
INSERT INTO "measurement" VALUES(1,1,1,'edit','efficacy',0.5,'p1','{"n":1}',2);
INSERT INTO "measurement" VALUES(2,1,NULL,'edit','efficacy',0.25,'p1','{"n":1}',2);
INSERT INTO "measurement" VALUES(3,4,NULL,'edit','efficacy',0.0,'p1','{"n":1}',6);
CREATE TABLE model (
	id INTEGER NOT NULL, 
	base_id TEXT NOT NULL, 
	revision TEXT, 
	path TEXT NOT NULL, 
	dtype TEXT NOT NULL, 
	device TEXT, 
	model_type TEXT NOT NULL, 
	base_digest TEXT NOT NULL, 
	config TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_model PRIMARY KEY (id), 
	CONSTRAINT fk_model_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "model" VALUES(1,'org/tiny','0000000000000000000000000000000000000000','models/tiny','F32','cpu','gpt2','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','{"files":{"model.safetensors":["cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2",123]},"seed":0}','2026-11-23T04:23:35.870944Z',1);
CREATE TABLE object (
	oid TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_object PRIMARY KEY (oid), 
	CONSTRAINT fk_object_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT ck_object_size CHECK (size >= 0)
);
INSERT INTO "object" VALUES('595256effafaa959924140425e99a1e36d0e304f29d69533e5dab2134386dc4c','delta',10,'2026-11-23T04:23:35.897543Z',2);
INSERT INTO "object" VALUES('9d68558580593988c8fcee71eea1b81fc0eb4af2a9b493803bce35df10ecf5f1','delta',15,'2026-11-23T04:23:35.932155Z',3);
INSERT INTO "object" VALUES('c449bec580cb71f88403ec7c2510d7e4e74cff244b4b9167f58339f6ac86d783','delta',10,'2026-11-23T04:23:35.949199Z',6);
INSERT INTO "object" VALUES('72110207b6499adb0ff6cdd294688fbead12ad866c34159f23e0b3e81d369b94','moment',6,'2026-11-23T04:23:36.022761Z',8);
INSERT INTO "object" VALUES('41a093100bbbb59e31dcc91a581495871ac485e07deda57bf878353cc5aae6db','factor',6,'2026-11-23T04:23:36.022761Z',8);
INSERT INTO "object" VALUES('091e16574609fd16d8501ef2f4f9ac8c55f07c1126802de29f21f035cb1efdae','moment',8,'2026-11-23T04:23:36.022761Z',8);
CREATE TABLE prediction (
	id INTEGER NOT NULL, 
	model_id INTEGER NOT NULL, 
	protocol TEXT NOT NULL, 
	prompt TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_prediction PRIMARY KEY (id), 
	CONSTRAINT fk_prediction_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_prediction_model_id_model FOREIGN KEY(model_id) REFERENCES model (id) ON DELETE RESTRICT
);
INSERT INTO "prediction" VALUES(1,1,'p1','a','yes','{"logit":1.5}',9);
INSERT INTO "prediction" VALUES(2,1,'p1','b','yes','{"logit":1.5}',9);
CREATE TABLE release (
	id INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	form TEXT NOT NULL, 
	target TEXT NOT NULL, 
	manifest TEXT NOT NULL, 
	merkle_root TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_release PRIMARY KEY (id), 
	CONSTRAINT fk_release_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "release" VALUES(1,1,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:36.036559Z',10);
INSERT INTO "release" VALUES(2,2,'adapter','org/out','{"files":[]}','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','2026-11-23T04:23:36.036559Z',10);
CREATE TABLE stats (
	id INTEGER NOT NULL, 
	base_digest TEXT NOT NULL, 
	parameter TEXT NOT NULL, 
	corpus TEXT NOT NULL, 
	corpus_sha256 TEXT NOT NULL, 
	count BIGINT NOT NULL, 
	moment_oid TEXT NOT NULL, 
	factor_oid TEXT, 
	jitter FLOAT, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_stats PRIMARY KEY (id), 
	CONSTRAINT fk_stats_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT, 
	CONSTRAINT fk_stats_moment_oid_object FOREIGN KEY(moment_oid) REFERENCES object (oid) ON DELETE RESTRICT, 
	CONSTRAINT fk_stats_factor_oid_object FOREIGN KEY(factor_oid) REFERENCES object (oid) ON DELETE RESTRICT
);
INSERT INTO "stats" VALUES(1,'cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','h.0.w','wiki','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1099511627776,'72110207b6499adb0ff6cdd294688fbead12ad866c34159f23e0b3e81d369b94','41a093100bbbb59e31dcc91a581495871ac485e07deda57bf878353cc5aae6db',0.001,8);
INSERT INTO "stats" VALUES(2,'cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2','h.1.w','wiki','cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2',1099511627776,'091e16574609fd16d8501ef2f4f9ac8c55f07c1126802de29f21f035cb1efdae',NULL,NULL,8);
CREATE TABLE tag (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	version INTEGER, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_tag PRIMARY KEY (id), 
	CONSTRAINT fk_tag_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "tag" VALUES(1,'v-one',1,7);
INSERT INTO "tag" VALUES(2,'v-one',NULL,12);
INSERT INTO "tag" VALUES(3,'v-two',4,12);
CREATE TABLE user (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	password_hash TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	entry_seq INTEGER NOT NULL, 
	CONSTRAINT pk_user PRIMARY KEY (id), 
	CONSTRAINT fk_user_entry_seq_entry FOREIGN KEY(entry_seq) REFERENCES entry (seq) ON DELETE RESTRICT
);
INSERT INTO "user" VALUES(1,'ann','editor','scrypt$secret','2026-11-23T04:23:36.042110Z',11);
INSERT INTO "user" VALUES(2,'bob','editor','scrypt$secret','2026-11-23T04:23:36.042110Z',11);
CREATE INDEX ix_tag_name ON tag (name);
CREATE INDEX ix_edit_hash ON edit (hash);
CREATE INDEX ix_edit_batch_id ON edit (batch_id);
CREATE INDEX ix_measurement_version ON measurement (version);
CREATE INDEX ix_measurement_edit_id ON measurement (edit_id);
CREATE INDEX ix_measurement_entry_seq ON measurement (entry_seq);
CREATE INDEX ix_prediction_model_id_protocol ON prediction (model_id, protocol);
CREATE INDEX ix_stats_base_digest_parameter ON stats (base_digest, parameter);
CREATE INDEX ix_user_name ON user (name);
COMMIT;
