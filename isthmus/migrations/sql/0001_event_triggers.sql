create event trigger isthmus_refuse_drop on sql_drop execute function refuse_drop()
--;
create event trigger isthmus_refuse_unguarded on ddl_command_end when tag in ('ALTER TABLE', 'ALTER TRIGGER', 'CREATE TRIGGER', 'CREATE RULE', 'CREATE TABLE', 'CREATE FUNCTION',
    'ALTER FUNCTION', 'ALTER ROUTINE', 'ALTER SCHEMA') execute function refuse_unguarded()
--;
create event trigger isthmus_refuse_rewrite on table_rewrite execute function refuse_rewrite()
--;
alter event trigger isthmus_refuse_drop enable always
--;
alter event trigger isthmus_refuse_unguarded enable always
--;
alter event trigger isthmus_refuse_rewrite enable always
--;
create event trigger isthmus_refuse_dropping_guards on sql_drop execute function guards.refuse_drop()
--;
create event trigger isthmus_refuse_replacing_guards on ddl_command_end when tag in ('CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER ROUTINE')
    execute function guards.refuse_replacing()
--;
create event trigger isthmus_refuse_concurrently on ddl_command_start when tag in ('ALTER TABLE') execute function refuse_concurrently()
--;
alter event trigger isthmus_refuse_dropping_guards enable always
--;
alter event trigger isthmus_refuse_replacing_guards enable always
--;
alter event trigger isthmus_refuse_concurrently enable always
