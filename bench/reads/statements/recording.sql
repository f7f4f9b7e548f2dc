WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables)
SELECT json_build_object('data', json_build_object(
  'node', (
    SELECT json_build_object(
             'id', pg_temp.global_id('Recording', a.id), 'state', a.state,
             'playbackUrl', pg_temp.recordings() || CASE a.state WHEN 'READY' THEN a.playlist_key END,
             'thumbnailUrl', pg_temp.recordings() || CASE a.state WHEN 'READY' THEN a.thumbnail_key END,
             'durationMs', a.duration_ms, 'startedAt', a.started_at, 'endedAt', a.ended_at,
             'channel', (
               SELECT json_build_object(
                        'id', pg_temp.global_id('Channel', c.id), 'name', c.name, 'followerCount', c.follower_count,
                        'viewerIsFollowing', EXISTS (SELECT FROM follows f
                                                      WHERE f.user_id = $1::uuid AND f.channel_id = c.id),
                        'owner', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = c.user_id))
                 FROM channels c WHERE c.id = a.channel_id),
             'streams', coalesce((
               SELECT json_agg(json_build_object(
                        'id', pg_temp.global_id('Stream', s.id), 'title', s.title, 'startedAt', s.started_at,
                        'category', (SELECT json_build_object('slug', g.slug, 'name', g.name)
                                       FROM categories g WHERE g.id = s.category_id),
                        'chatMessages', (
                          SELECT json_build_object(
                                   'nodes', coalesce(json_agg(m.node ORDER BY m.place)
                                                       FILTER (WHERE m.place <= 50), '[]'),
                                   'pageInfo', json_build_object(
                                     'hasNextPage', count(*) > 50,
                                     'endCursor', pg_temp.opaque(max(m.cursor) FILTER (WHERE m.place <= 50))))
                            FROM (SELECT row_number() OVER (ORDER BY m.sent_at, m.id) AS place,
                                         m.sent_at || ' ' || m.id AS cursor,
                                         json_build_object(
                                           'id', pg_temp.global_id('ChatMessage', m.id), 'content', m.content,
                                           'offsetMs', greatest(0, floor(
                                             extract(epoch FROM m.sent_at - s.started_at) * 1000)::int),
                                           'senderName', m.sender_name,
                                           'sentBy', (SELECT json_build_object('username', u.username)
                                                        FROM users u WHERE u.id = m.user_id)) AS node
                                    FROM chat_messages m
                                   WHERE m.stream_id = s.id
                                   ORDER BY m.sent_at, m.id LIMIT 51) m)) ORDER BY s.first_seen_at, s.id)
                 FROM streams s WHERE s.recording_id = a.id), '[]'))
      FROM recordings a WHERE a.id = pg_temp.key_of($2::jsonb ->> 'id')),
  'recordings', json_build_object('nodes', coalesce((
    SELECT json_agg(json_build_object(
             'id', pg_temp.global_id('Recording', a.id),
             'thumbnailUrl', pg_temp.recordings() || a.thumbnail_key,
             'durationMs', a.duration_ms, 'endedAt', a.ended_at) ORDER BY a.ended_at DESC, a.id DESC)
      FROM (SELECT * FROM recordings a WHERE a.state = 'READY' ORDER BY a.ended_at DESC, a.id DESC LIMIT 6) a), '[]'))))
