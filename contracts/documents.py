"""Documents that gained fields: the new ones are left out while they are `None`.

So a document that lacks them has the same JSON and the same hash as before.
"""

from typing import Any, ClassVar


class LaterFields:
    """Base of a dataclass whose ``later_fields`` older documents lack."""

    later_fields: ClassVar[tuple[str, ...]]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Leave the fields out of the JSON while they are ``None``."""
        from pydantic_core import core_schema

        def without_none(value: Any, dump: Any) -> Any:
            document = dump(value)
            if isinstance(document, dict):
                for name in cls.later_fields:
                    if document.get(name) is None:
                        document.pop(name, None)
            return document

        schema = handler(source)
        return core_schema.no_info_after_validator_function(
            lambda value: value,
            schema,
            serialization=core_schema.wrap_serializer_function_ser_schema(
                without_none, schema=schema
            ),
        )
