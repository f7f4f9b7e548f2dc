WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables)
SELECT json_build_object('data', json_build_object('viewer', (
  SELECT json_build_object(
           'id', pg_temp.global_id('User', u.id), 'username', u.username,
           'channel', (
             SELECT json_build_object(
                      'id', pg_temp.global_id('Channel', c.id), 'name', c.name, 'provisioning', c.provisioning,
                      'broadcast', json_build_object(
                        'type', c.type, 'ingestUrl', 'rtmps://' || c.ingest_endpoint || ':443/app/', 'streamKey', NULL, 'arn', c.arn))
               FROM channels c WHERE c.user_id = u.id),
           'chatRoom', (SELECT json_build_object('provisioning', r.provisioning) FROM chat_rooms r WHERE r.user_id = u.id),
           'stage', (SELECT json_build_object('provisioning', t.provisioning) FROM stages t WHERE t.user_id = u.id))
    FROM users u WHERE u.id = $1::uuid)))
