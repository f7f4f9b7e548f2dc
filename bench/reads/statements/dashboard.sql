WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables),
mine AS (SELECT c.*, date_trunc('minute', s.started_at) AS started_at FROM channels c LEFT JOIN streams s ON s.id = c.live_stream_id
          WHERE c.user_id = $1::uuid),
beats AS (
  SELECT m.viewing_id, m.sent_at,
         floor(extract(epoch FROM m.sent_at - mine.started_at) / 60)::int AS bucket,
         m.sent_at - lag(m.sent_at) OVER in_time AS since_last,
         lead(m.sent_at) OVER in_time - m.sent_at AS until_next
    FROM mine JOIN metrics m ON m.stream_id = mine.live_stream_id
     AND m.viewing_started_at >= mine.started_at - interval '7 days' AND m.sent_at >= mine.started_at
  WINDOW in_time AS (PARTITION BY m.viewing_id ORDER BY m.sent_at)),
present AS (
  SELECT sum(change) OVER (ORDER BY at, change) AS viewers
    FROM (SELECT sent_at AS at, 1 AS change FROM beats WHERE since_last IS NULL OR since_last >= interval '45 seconds'
          UNION ALL
          SELECT sent_at + interval '45 seconds', -1 FROM beats
           WHERE until_next IS NULL OR until_next >= interval '45 seconds') changes)
SELECT json_build_object('data', json_build_object('viewer', (
  SELECT json_build_object(
    'id', pg_temp.global_id('User', u.id), 'username', u.username,
    'channel', (
      SELECT json_build_object(
        'id', pg_temp.global_id('Channel', c.id), 'name', c.name, 'title', c.title,
        'isLive', c.live_stream_id IS NOT NULL, 'isPartner', c.is_partner, 'followerCount', c.follower_count,
        'viewerCount', CASE WHEN c.live_stream_id IS NOT NULL THEN c.viewer_count END,
        'category', (SELECT json_build_object('slug', g.slug, 'name', g.name)
                       FROM categories g WHERE g.id = c.category_id),
        'broadcast', json_build_object('type', c.type, 'ingestUrl', 'rtmps://' || c.ingest_endpoint || ':443/app/', 'streamKey', NULL),
        'currentStream', (
          SELECT json_build_object(
            'id', pg_temp.global_id('Stream', s.id), 'startedAt', s.started_at, 'health', s.health,
            'viewerCount', s.viewer_count, 'peakViewerCount', s.peak_viewer_count,
            'events', json_build_object('nodes', coalesce((
              SELECT json_agg(json_build_object(
                       'type', upper(replace(e.name, ' ', '_')), 'name', e.name, 'occurredAt', e.occurred_at,
                       'message', CASE e.name WHEN 'Session Created' THEN 'The encoder has connected.'
                                              WHEN 'Stream Start' THEN 'The stream can be watched.' END) ORDER BY e.occurred_at, e.position)
                FROM (SELECT e.occurred_at, e.position, e.body #>> '{detail,event_name}' AS name
                        FROM received_events e
                       WHERE e.channel_id = c.id AND e.ivs_stream_id = s.ivs_stream_id
                       ORDER BY e.occurred_at, e.position LIMIT 20) e), '[]')),
            'metrics', json_build_object('nodes', coalesce((
              SELECT json_agg(json_build_object(
                       'id', pg_temp.global_id('Metric', m.id), 'createdAt', m.created_at, 'quality', m.quality,
                       'bitrate', m.bitrate, 'latencySeconds', m.latency_seconds) ORDER BY m.sent_at DESC, m.id DESC)
                FROM (SELECT * FROM metrics m WHERE m.stream_id = s.id
                       ORDER BY m.sent_at DESC, m.id DESC LIMIT 20) m), '[]')),
            'analytics', json_build_object(
              'bucketSeconds', 60,
              'uniqueViewers', (SELECT count(DISTINCT viewing_id) FROM beats),
              'peakViewers', (SELECT coalesce(max(viewers), 0) FROM present),
              'watchTimeSeconds', (
                SELECT round(coalesce(sum(extract(epoch FROM least(
                         coalesce(until_next, interval '30 seconds'), interval '30 seconds',
                         greatest(now() - sent_at, interval '0')))), 0)) FROM beats),
              'viewers', (
                SELECT json_agg(json_build_object(
                         'startsAt', date_trunc('minute', s.started_at) + bucket * interval '60 seconds',
                         'value', coalesce(told.viewers, 0)) ORDER BY bucket)
                  FROM generate_series(0, floor(extract(epoch FROM now() - date_trunc('minute', s.started_at)) / 60)::int) bucket
                  LEFT JOIN (SELECT bucket, count(DISTINCT viewing_id) AS viewers FROM beats GROUP BY bucket) told
                 USING (bucket))))
            FROM streams s WHERE s.id = c.live_stream_id),
        'streams', json_build_object('nodes', coalesce((
          SELECT json_agg(json_build_object(
                   'id', pg_temp.global_id('Stream', s.id), 'title', s.title, 'startedAt', s.started_at,
                   'endedAt', s.ended_at, 'peakViewerCount', s.peak_viewer_count,
                   'recording', (SELECT json_build_object('id', pg_temp.global_id('Recording', a.id),
                                                          'durationMs', a.duration_ms)
                                   FROM recordings a WHERE a.id = s.recording_id))
                   ORDER BY s.started_at DESC, s.id DESC)
            FROM (SELECT * FROM streams s
                   WHERE s.channel_id = c.id AND s.started_at IS NOT NULL
                   ORDER BY s.started_at DESC, s.id DESC LIMIT 10) s), '[]')))
        FROM channels c WHERE c.user_id = u.id),
    'chatRoom', (
      SELECT json_build_object(
        'id', pg_temp.global_id('ChatRoom', r.id),
        'messages', json_build_object('nodes', coalesce((
          SELECT json_agg(json_build_object(
                   'id', pg_temp.global_id('ChatMessage', m.id), 'content', m.content, 'sentAt', m.sent_at,
                   'senderName', m.sender_name) ORDER BY m.sent_at, m.id)
            FROM (SELECT * FROM chat_messages m WHERE m.chat_room_id = r.id
                   ORDER BY m.sent_at DESC, m.id DESC LIMIT 20) m), '[]')),
        'bans', json_build_object('nodes', coalesce((
          SELECT json_agg(json_build_object(
                   'createdAt', b.created_at,
                   'user', (SELECT json_build_object('username', u.username) FROM users u WHERE u.id = b.user_id))
                   ORDER BY b.id DESC)
            FROM (SELECT * FROM chat_bans b WHERE b.chat_room_id = r.id ORDER BY b.id DESC LIMIT 20) b), '[]')))
        FROM chat_rooms r WHERE r.user_id = u.id))
    FROM users u WHERE u.id = $1::uuid)))
