WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables)
SELECT json_build_object('data', json_build_object('channel', (
  SELECT json_build_object(
           'id', pg_temp.global_id('Channel', c.id), 'name', c.name, 'title', c.title,
           'isLive', c.live_stream_id IS NOT NULL, 'viewerCanManage', coalesce(c.user_id = $1::uuid, false),
           'owner', (
             SELECT json_build_object(
                      'username', u.username,
                      'stage', (SELECT json_build_object('name', t.name, 'provisioning', t.provisioning)
                                  FROM stages t WHERE t.user_id = u.id),
                      'chatRoom', (SELECT json_build_object(
                                            'name', r.name, 'owner', json_build_object('username', u.username))
                                     FROM chat_rooms r WHERE r.user_id = u.id))
               FROM users u WHERE u.id = c.user_id),
           'streams', json_build_object('edges', coalesce((
             SELECT json_agg(json_build_object(
                      'cursor', pg_temp.opaque(s.started_at || ' ' || s.id),
                      'node', json_build_object(
                        'id', pg_temp.global_id('Stream', s.id), 'title', s.title, 'state', s.state,
                        'startedAt', s.started_at, 'endedAt', s.ended_at,
                        'channel', json_build_object('name', c.name))) ORDER BY s.started_at DESC, s.id DESC)
               FROM (SELECT * FROM streams s
                      WHERE s.channel_id = c.id AND s.started_at IS NOT NULL
                      ORDER BY s.started_at DESC, s.id DESC LIMIT 20) s), '[]')))
    FROM channels c WHERE lower(c.name) = lower($2::jsonb ->> 'name'))))
