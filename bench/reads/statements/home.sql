WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables)
SELECT json_build_object('data', json_build_object(
  'viewer', (SELECT json_build_object('id', pg_temp.global_id('User', u.id), 'username', u.username)
               FROM users u WHERE u.id = $1::uuid),
  'channels', json_build_object(
    'nodes', coalesce(json_agg(page.node ORDER BY page.place) FILTER (WHERE page.place <= page.wanted), '[]'),
    'pageInfo', json_build_object(
      'hasNextPage', coalesce(count(*) > max(page.wanted), false),
      'endCursor', pg_temp.opaque(min(page.cursor) FILTER (WHERE page.place <= page.wanted))))))
FROM (
  SELECT row_number() OVER (ORDER BY c.live_since DESC, c.id DESC) AS place,
         ($2::jsonb ->> 'first')::int AS wanted,
         c.live_since || ' ' || c.id AS cursor,
         json_build_object(
    'id', pg_temp.global_id('Channel', c.id), 'name', c.name, 'title', c.title, 'isLive', true,
    'followerCount', c.follower_count, 'viewerCount', c.viewer_count,
    'category', (SELECT json_build_object('slug', g.slug, 'name', g.name) FROM categories g WHERE g.id = c.category_id),
    'owner', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = c.user_id),
    'currentStream', (SELECT json_build_object('id', pg_temp.global_id('Stream', s.id), 'startedAt', s.started_at,
                                               'health', s.health)
                        FROM streams s WHERE s.id = c.live_stream_id),
    'streams', (
      SELECT json_build_object(
               'nodes', coalesce(json_agg(s.node ORDER BY s.place) FILTER (WHERE s.place <= 5), '[]'),
               'pageInfo', json_build_object(
                 'hasNextPage', count(*) > 5,
                 'endCursor', pg_temp.opaque(min(s.cursor) FILTER (WHERE s.place <= 5))))
        FROM (SELECT row_number() OVER (ORDER BY s.started_at DESC, s.id DESC) AS place,
                     s.started_at || ' ' || s.id AS cursor,
                     json_build_object(
                       'id', pg_temp.global_id('Stream', s.id), 'title', s.title, 'state', s.state,
                       'category', (SELECT json_build_object('name', g.name)
                                      FROM categories g WHERE g.id = s.category_id)) AS node
                FROM streams s
               WHERE s.channel_id = c.id AND s.started_at IS NOT NULL
               ORDER BY s.started_at DESC, s.id DESC LIMIT 6) s),
    'chatRoom', (
      SELECT json_build_object(
               'id', pg_temp.global_id('ChatRoom', r.id),
               'messages', json_build_object('nodes', coalesce((
                 SELECT json_agg(json_build_object(
                          'id', pg_temp.global_id('ChatMessage', m.id), 'content', m.content, 'sentAt', m.sent_at,
                          'senderName', m.sender_name,
                          'sentBy', (SELECT json_build_object('username', u.username)
                                       FROM users u WHERE u.id = m.user_id)) ORDER BY m.sent_at, m.id)
                   FROM (SELECT * FROM chat_messages m WHERE m.chat_room_id = r.id
                          ORDER BY m.sent_at DESC, m.id DESC LIMIT 10) m), '[]')))
        FROM chat_rooms r WHERE r.user_id = c.user_id)
  ) AS node
  FROM channels c
 WHERE c.live_stream_id IS NOT NULL
 ORDER BY c.live_since DESC, c.id DESC
 LIMIT ($2::jsonb ->> 'first')::int + 1
) page
