-- A dataset for measurements: users, friendships, pending friend requests, and the shares that users sent each other. The
-- same settings always make the same dataset. Run it on a database right after the migrations, before anybody uses it.
--
-- It is controlled by settings:
--   dataset.users     number of users, at least 2 * dataset.friends + 10
--   dataset.friends   friends of a user on average. Each user has about 0.5 to 1.5 times as many
--   dataset.received  shares that a user received, on average. About half of them are read
--   dataset.domains   JSON with the lists "allow" and "deny" of every user
--
-- Every user has also sent friend requests to two others and received requests from two others, all without an answer yet.
-- Nobody has blocked or declined anybody. Run `vacuum analyze` afterwards. It is not part of this file, because it cannot
-- run in a transaction.

-- # Preparing

-- The id of the nth user. Neighbours in the table are far apart in the indexes, as with random ids. Any program with 64-bit
-- integers can compute the id from n.
create function pg_temp.crowd_id(n bigint) returns text language sql immutable as
    $$ select (1000000000000874219 + n * 618033988749 % 999999999989 * 1000000)::text $$;

select setseed(0.25);

-- Turns off triggers and the checks of foreign keys. The rows below are consistent by construction, and the checks would
-- take most of the time. What the triggers would write is written below too.
set session_replication_role = replica;

-- Drops the indexes until the end. To build an index from a full table takes a fraction of the time.
create temporary table crowd_indexes as
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
    from pg_index
    where indrelid in ('users'::regclass, 'friendships'::regclass, 'shares'::regclass, 'share_recipients'::regclass)
        and not exists (select from pg_constraint where conindid = indexrelid);

do $$
declare name text;
begin
    for name in select crowd_indexes.name from crowd_indexes loop
        execute 'drop index ' || name;
    end loop;
end $$;

-- # Users

-- Names early in the lists are more frequent than late ones.
insert into users (user_id, number, email, email_public, first_name, last_name, description, dob, dob_public, gender,
    school, work, location, location_public, profile_image_uploaded_at, profile_image_extension, domain_allow_array,
    domain_deny_array)
select pg_temp.crowd_id(n), n, lower(first_name || '.' || last_name) || n || '@example.com', n % 8 = 0, first_name,
    last_name,
    case n % 3 when 0 then '' when 1 then 'Reads too much.' else 'Mostly about ' || last_name || ' and the sea.' end,
    date '1960-01-01' + (random() * 16000)::int, n % 4 = 0, null,
    case when n % 2 = 0 then 'University ' || n % 200 end, case when n % 3 = 0 then 'Works ' || n % 500 end,
    'Town ' || n % 1000, n % 2 = 0,
    case when n % 2 = 0 then timestamptz '2026-01-01' - random() * interval '300 days' end,
    case when n % 2 = 0 then 'png' end, allow, deny
from (
    select n, firsts[1 + floor(random() ^ 1.5 * cardinality(firsts))::int] as first_name,
        lasts[1 + floor(random() ^ 1.5 * cardinality(lasts))::int] as last_name, allow, deny
    from generate_series(1, current_setting('dataset.users')::bigint) n, (
        select string_to_array(
            'Maria José Anna David Fatima Daniel Laura Ahmed Sofia Michael Elena Thomas Olivia Mohamed Julia Alexander '
            'Emma Robert Sara James Nina Peter Eva John Amina Paul Lena William Mia Martin Zoe Andreas Clara George '
            'Hana Samuel Ines Lucas Ida Simon Rosa Felix Vera Adam Marta Oscar Lea Hugo Ana Leo Carla Ivan Irene Max '
            'Alice Victor Ella Jonas Noor Emil Lucia Marco Petra Antonio Dora Luis Hannah Carlos Yara Pedro Ruth Miguel '
            'Greta Pablo Ines Diego Salma Jorge Paula Rafael Astrid Bruno Freya Enzo Ingrid Matteo Sigrid Luca Linnea '
            'Giulia Andrea Chiara Marek Agnieszka Piotr Katarzyna Jan Magdalena Tomasz Zofia Pavel Tereza Jakub Eliska '
            'Milan Jelena Nikola Ivana Stefan Milica Georgi Desislava Dimitri Anastasia Sergei Natalia Oleg Oksana '
            'Yusuf Aylin Mehmet Elif Omar Layla Hassan Zainab Ali Mariam Ibrahim Khadija Youssef Samira Tariq Nadia '
            'Ravi Priya Arjun Ananya Vikram Divya Sanjay Lakshmi Rahul Kavita Wei Li Jing Chen Yan Hui Min Xin Hiroshi '
            'Yuki Kenji Sakura Takashi Aiko Minjun Seoyeon Jiho Haeun Nguyen Linh Minh Thao Kwame Ama Kofi Abena '
            'Chidi Ngozi Emeka Adaeze Thabo Naledi Sipho Zanele Kamau Wanjiru Tendai Rudo Mateo Valentina Santiago '
            'Camila Sebastian Isabella Thiago Beatriz Joao Leticia Aaron Bridget Conor Siobhan Rhys Cerys Ewan Isla '
            'Bjorn Solveig Lars Kirsten Mikko Aino Eero Kaisa Zoltan Reka Bence Dorottya', ' ') as firsts,
        string_to_array(
            'Garcia Smith Müller Kim Nguyen Wang Silva Ivanov Johnson Ali Rossi Martin Novak Hansen Kowalski Singh '
            'Lopez Brown Schmidt Lee Tran Li Santos Petrov Williams Khan Russo Bernard Svoboda Larsen Nowak Kumar '
            'Hernandez Jones Schneider Park Le Zhang Oliveira Smirnov Davis Hussain Ferrari Dubois Dvorak Olsen Wisniewski '
            'Sharma Gonzalez Miller Fischer Choi Pham Liu Souza Kuznetsov Wilson Ahmed Esposito Petit Cerny Pedersen '
            'Wojcik Patel Perez Taylor Weber Jung Huynh Chen Lima Popov Anderson Rahman Bianchi Durand Prochazka Nilsen '
            'Kaminski Gupta Sanchez Thomas Meyer Kang Hoang Yang Pereira Sokolov Jackson Malik Romano Leroy Kucera '
            'Johansen Lewandowski Das Ramirez White Wagner Cho Phan Huang Ferreira Lebedev Harris Abbas Colombo Moreau '
            'Vesely Andersen Zielinski Reddy Torres Clark Becker Yoon Vu Zhao Alves Kozlov Lewis Saleh Ricci Simon '
            'Horak Kristensen Szymanski Rao Flores Walker Schulz Jang Dang Wu Ribeiro Novikov Hall Mansour Marino Laurent '
            'Nemec Jensen Wozniak Nair Rivera Allen Hoffmann Lim Bui Zhou Carvalho Morozov Young Haddad Greco Lefebvre '
            'Marek Nielsen Dabrowski Iyer Gomez King Schäfer Han Do Xu Gomes Volkov King Nasser Bruno Michel Pospisil '
            'Christensen Kozlowski Menon Diaz Wright Koch Oh Ho Sun Martins Alekseev Scott Farah Gallo Garnier Pokorny '
            'Rasmussen Jankowski Joshi Reyes Green Bauer Seo Ngo Ma Rocha Egorov Baker Aziz Conti Faure Hajek Sorensen '
            'Mazur Verma Cruz Adams Richter Shin Duong Zhu Barbosa Pavlov Nelson Karim Costa Rousseau Kral Berg Kwiatkowski '
            'Mehta Morales Hill Klein Kwon Ly Hu Araujo Stepanov Carter Osman Fontana Blanc Ruzicka Haugen Krawczyk '
            'Okafor Mensah Dlamini Otieno Banda Diallo Traore Ndlovu Abebe Tesfaye Tanaka Suzuki Sato Watanabe Ito Yamamoto '
            'Nakamura Kobayashi Virtanen Korhonen Nieminen Makinen Nagy Kovacs Toth Szabo Papadopoulos Georgiou Yilmaz Kaya '
            'Demir Celik Cohen Levy Mizrahi Murphy Kelly Walsh OBrien Byrne Evans Davies Roberts Campbell Stewart Fraser',
            ' ') as lasts,
        array(select jsonb_array_elements_text(current_setting('dataset.domains')::jsonb -> 'allow')) as allow,
        array(select jsonb_array_elements_text(current_setting('dataset.domains')::jsonb -> 'deny')) as deny
    ) lists
) named;

select setval('users_number_given', max(number)) from users;

-- # Search

insert into search_texts (user_id, first_name, last_name, email, email_public)
select user_id, first_name, last_name, email, email_public from users;

-- In the order of the index, so that each entry is added at its end.
insert into search_keys (place, key, user_id)
select k.place, k.key, t.user_id
from search_texts t, search_keys_of(given, family, name, case when email_public then address end) k
order by place, key, user_id;

-- # Friendships

-- Users stand in a circle. Each is a friend of others at certain distances further on: of many near ones and of few far ones.
-- The distances of one user differ, and all are less than half the circle, so no pair occurs twice.
insert into friendships (user_id1, user_id2, requested_at, accepted_at)
select case when asks then one else other end, case when asks then other else one end, at,
    at + random() * interval '5 days'
from (
    select pg_temp.crowd_id(n) as one, pg_temp.crowd_id((n + distance - 1) % users + 1) as other, random() < 0.5 as asks,
        timestamptz '2026-01-01' - interval '6 days' - random() * interval '700 days' as at
    from (
        select n, users, 4 + place + floor(((place - 1 + random()) / places) ^ 3 * (users / 2 - friends - 5))::bigint
            as distance
        from (
            select n, users, friends, 1 + floor(random() * (friends - 1))::int as places
            from (
                select current_setting('dataset.users')::bigint as users, current_setting('dataset.friends')::int as friends
            ) asked, generate_series(1, users) n
        ) everybody, generate_series(1, places) place
    ) pairs
) directed;

-- # Circles

insert into circles (user_id) select user_id from users;

update circles c set friends = mine.friends
from (
    select f.user_id, sort(array_agg(other.number)) as friends
    from friends f join users other on other.user_id = f.friend_id
    group by f.user_id
) mine
where mine.user_id = c.user_id;

-- # Pending requests

insert into friendships (user_id1, user_id2, requested_at)
select pg_temp.crowd_id(n), pg_temp.crowd_id((n + distance - 1) % users + 1),
    timestamptz '2026-01-01' - random() * interval '60 days'
from (select current_setting('dataset.users')::bigint as users) asked, generate_series(1, users) n,
    (values (1), (3)) near (distance);

-- # Shares

create temporary table crowd_shares as
select (lpad(to_hex(floor(extract(epoch from at) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(i), 15, '0'))::uuid
    as event_id, pg_temp.crowd_id(1 + floor(random() * users)::bigint) as sender_id, at as sent_at, i
from (
    select i, users, timestamptz '2025-07-01' + i * (interval '180 days' / shares) as at
    from (
        select current_setting('dataset.users')::bigint as users,
            current_setting('dataset.users')::bigint * current_setting('dataset.received')::int
                / current_setting('dataset.friends')::int as shares
    ) asked, generate_series(1, shares) i
) evenly;

-- Without statistics the planner would assume that these tables are small.
analyze friendships, crowd_shares;

insert into share_recipients (event_id, user_id, seen_at)
select event_id, friend_id, case when random() < 0.5 then sent_at + random() * interval '3 days' end
from (
    select event_id, sent_at, user_id1 as friend_id
    from crowd_shares join friendships on user_id2 = sender_id and accepted_at is not null
    union all
    select event_id, sent_at, user_id2
    from crowd_shares join friendships on user_id1 = sender_id and accepted_at is not null
    order by 1
) received;

insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count)
select event_id, sender_id, sent_at, 'https://example.org/articles/' || i, 'Article ' || i || ' and what came of it',
    (select count(*) from share_recipients r where r.event_id = s.event_id and seen_at is null)
from crowd_shares s;

-- # Indexes

do $$
declare definition text;
begin
    for definition in select crowd_indexes.definition from crowd_indexes loop
        execute definition;
    end loop;
end $$;

drop table crowd_indexes, crowd_shares;
set session_replication_role = origin;
