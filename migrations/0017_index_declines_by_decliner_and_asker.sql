-- no-transaction
-- For reading somebody's declines page by page. Built while declines are written; should that be ended halfway, drop index
-- declines_of_decliner, and migrate again. The index before it, declines_by_decliner, goes when no instance of an older
-- version runs any more.
create index concurrently declines_of_decliner on declines (decliner_id, asker_id);
