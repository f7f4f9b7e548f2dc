WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables)
SELECT json_build_object('data', json_build_object('stage', (
  SELECT json_build_object(
           'id', pg_temp.global_id('Stage', t.id), 'name', t.name, 'isLive', t.live_since IS NOT NULL,
           'viewerCanManage', coalesce(t.user_id = $1::uuid, false),
           'owner', (
             SELECT json_build_object(
                      'id', pg_temp.global_id('User', u.id), 'username', u.username,
                      'channel', (SELECT json_build_object('id', pg_temp.global_id('Channel', c.id), 'name', c.name,
                                                           'title', c.title)
                                    FROM channels c WHERE c.user_id = u.id))
               FROM users u WHERE u.id = t.user_id),
           'participants', coalesce((
             SELECT json_agg(json_build_object(
                      'participantId', p.participant_id, 'publishedAt', p.published_at,
                      'user', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = p.user_id))
                      ORDER BY p.published_at, p.id)
               FROM stage_participants p WHERE p.stage_id = t.id AND p.on_stage), '[]'),
           'tokens', json_build_object('nodes', coalesce((
             SELECT json_agg(json_build_object(
                      'id', pg_temp.global_id('StageToken', k.id), 'capabilities', json_build_array('PUBLISH', 'SUBSCRIBE'),
                      'expiresAt', k.expires_at, 'isExpired', k.expires_at <= now(), 'token', NULL,
                      'user', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = k.user_id))
                      ORDER BY k.id DESC)
               FROM (SELECT * FROM stage_tokens k
                      WHERE k.stage_id = t.id AND $1::uuid IN (k.user_id, t.user_id)
                      ORDER BY k.id DESC LIMIT 20) k), '[]')),
           'joinRequests', json_build_object('nodes', coalesce((
             SELECT json_agg(json_build_object(
                      'id', pg_temp.global_id('StageJoinRequest', q.id), 'state', q.state, 'askedAt', q.asked_at,
                      'user', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = q.user_id))
                      ORDER BY q.asked_at DESC, q.id DESC)
               FROM (SELECT * FROM stage_join_requests q
                      WHERE q.stage_id = t.id AND q.state = 'OPEN' AND $1::uuid IN (q.user_id, t.user_id)
                      ORDER BY q.asked_at DESC, q.id DESC LIMIT 20) q), '[]')))
    FROM stages t WHERE lower(t.name) = lower($2::jsonb ->> 'name'))))
