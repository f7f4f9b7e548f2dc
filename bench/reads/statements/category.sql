WITH asked AS (SELECT $1::uuid AS viewer, $2::jsonb AS variables)
SELECT json_build_object('data', json_build_object(
  'category', (
    SELECT json_build_object(
             'id', pg_temp.global_id('Category', g.id), 'name', g.name, 'slug', g.slug,
             'liveChannelCount', (SELECT count(*) FROM channels c
                                   WHERE c.category_id = g.id AND c.live_stream_id IS NOT NULL),
             'channels', (
               SELECT json_build_object(
                        'nodes', coalesce(json_agg(page.node ORDER BY page.place)
                                            FILTER (WHERE page.place <= page.wanted), '[]'),
                        'pageInfo', json_build_object(
                          'hasNextPage', coalesce(count(*) > max(page.wanted), false),
                          'endCursor', pg_temp.opaque(min(page.cursor) FILTER (WHERE page.place <= page.wanted))))
                 FROM (SELECT row_number() OVER (ORDER BY c.listed_at DESC, c.id DESC) AS place,
                              ($2::jsonb ->> 'first')::int AS wanted,
                              c.listed_at || ' ' || c.id AS cursor,
                              json_build_object(
                                'id', pg_temp.global_id('Channel', c.id), 'name', c.name, 'title', c.title,
                                'isLive', c.live_stream_id IS NOT NULL, 'followerCount', c.follower_count,
                                'viewerCount', CASE WHEN c.live_stream_id IS NOT NULL THEN c.viewer_count END,
                                'viewerIsFollowing', EXISTS (SELECT FROM follows f
                                                              WHERE f.user_id = $1::uuid AND f.channel_id = c.id),
                                'owner', (SELECT json_build_object('username', u.username)
                                            FROM users u WHERE u.id = c.user_id),
                                'currentStream', (SELECT json_build_object('startedAt', s.started_at)
                                                    FROM streams s WHERE s.id = c.live_stream_id)) AS node
                         FROM channels c
                        WHERE c.category_id = g.id
                        ORDER BY c.listed_at DESC, c.id DESC
                        LIMIT ($2::jsonb ->> 'first')::int + 1) page))
      FROM categories g WHERE g.slug = $2::jsonb ->> 'slug'),
  'categories', (
    SELECT json_agg(json_build_object('id', pg_temp.global_id('Category', g.id), 'name', g.name, 'slug', g.slug)
                    ORDER BY g.position, g.id)
      FROM categories g)))
